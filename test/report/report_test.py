#!/usr/bin/python3
# Tests of the study's records, numbers, CSV files and page, on invented records.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[1:1] = [str(TOOLS / "study"), str(TOOLS)]

import synthetic  # noqa: E402
from report import answer, measures  # noqa: E402
from report.csvfiles import TABLES, csv_files  # noqa: E402
from report.measures import Study, StudyError, TraceSource  # noqa: E402
from report.page import html  # noqa: E402
from report.records import BOUNDS, CLASSES, RecordError, Run, read_run  # noqa: E402
from report.terminal import tables  # noqa: E402
from run.emit import Report  # noqa: E402

TRACES = (synthetic.Trace("alpha"), synthetic.Trace("beta", events=5000, requested_peak=3 << 20))
STAMP = (("compiler", "GCC <12> & others"), ("seed", "1"))
Record = dict[str, Any]


def made_run(trace: synthetic.Trace, bound: str, page_size: int,
             change: Callable[[list[Record]], object] = lambda records: None) -> Run:
    """An invented run, changed before its CRC is made."""
    records = synthetic.records(trace, bound, page_size)
    change(records)
    return read_run(synthetic.console(records))


def made_study(page_sizes: tuple[int, ...] = synthetic.PAGE_SIZES, bounds: tuple[str, ...] = BOUNDS,
               traces: tuple[synthetic.Trace, ...] = TRACES) -> Study:
    runs = [made_run(trace, bound, size) for trace in traces for size in page_sizes for bound in bounds]
    sources = [TraceSource(trace.name, "a <workload>", f"{trace.name}.trace.xz", "0" * 64,
                           (("frees of NULL", 3),), ("events are missing: 2",)) for trace in traces]
    return Study(runs, sources, STAMP)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


class Page(HTMLParser):
    """Collects what the page refers to, its identifiers, and where elements are left open."""

    VOID = {"meta", "br", "hr", "link", "img", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.identifiers: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.identifiers.append(value or "")
            elif name in ("href", "src", "xlink:href", "srcset", "data", "action"):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            raise AssertionError(f"</{tag}> at {self.getpos()} where {self.open[-3:]} are open")
        self.open.pop()


def refusals(report: Report) -> None:
    """Everything that a console can have wrong is refused, with the line and the thing named."""
    trace = TRACES[1]
    good = synthetic.records(trace, "own", 8192)
    first = synthetic.console(good).split(b"\r\n").index(b"@study " + json.dumps(good[0]).encode()) + 1
    last_sample = max(place for place, record in enumerate(good) if record["kind"] == "sample")
    operation, result = last_sample + 1, len(good) - 1

    def refused(name: str, change: Callable[[list[Record]], object], place: int, *texts: str) -> None:
        with report.case(f"report_refuses_{name}"):
            records = synthetic.records(trace, "own", 8192)
            change(records)
            complain(report, synthetic.console(records), first + place, *texts)

    def set_field(place: int, name: str, value: Any) -> Callable[[list[Record]], object]:
        def change(records: list[Record]) -> None:
            records[place][name] = value
        return change

    refused("a_missing_field", lambda r: r[3].pop("held"), 3, '"held" is missing')
    refused("an_unknown_field", set_field(2, "colour", 7), 2, 'unknown field "colour"')
    refused("an_unknown_kind", set_field(4, "kind", "gossip"), 4, "gossip")
    refused("a_text_for_a_number", set_field(1, "requested", "12"), 1, "requested", '"12"')
    refused("a_float", set_field(1, "requested", 1.5), 1, "1.5 is not an integer")
    refused("a_boolean", set_field(1, "requested", True), 1, "requested is true")
    refused("a_negative_count", set_field(operation, "count", -1), operation, "count is -1")
    refused("a_number_beyond_64_bits", set_field(2, "requested", 1 << 63), 2, "is 9223372036854775808")
    refused("a_nested_unknown_field", lambda r: r[result]["peak"].update(more=1), result, '"peak.more"')
    refused("another_format", set_field(0, "format", 2), 0, "record format 2")
    refused("another_bound", set_field(0, "bound", "tight"), 0, 'bound is "tight"')
    refused("a_crooked_page_size", set_field(0, "page_size", 5000), 0, "page_size 5000")
    refused("a_hostile_trace_name", set_field(0, "trace", "../etc"), 0, "../etc")
    refused("a_second_config", lambda r: r.insert(1, r[0]), 1, "record config comes after config")
    refused("samples_out_of_order", lambda r: r.insert(2, r.pop(3)), 3, "sample of event")
    refused("a_short_free_list", lambda r: r[2]["free"].pop(), 2, "free has 10 orders, not 11")
    refused("an_index_above_one", lambda r: r[2]["unusable"].__setitem__(4, 1001), 2, "unusable[4] is 1001")
    refused("no_sample_of_the_end", lambda r: r.pop(last_sample), result - 1, "the last sample is of event")
    refused("a_missing_class", lambda r: r.pop(operation + 1), operation + 1, "page_alloc where object_free")
    refused("a_class_too_many", lambda r: r.insert(result, dict(r[result - 1])), result, "no further one")
    refused("a_histogram_that_does_not_add_up", lambda r: r[operation]["log2"].__setitem__(9, 10**6),
            operation, "object_alloc: log2 adds up to")
    refused("instructions_beyond_the_dearest", set_field(operation, "max", 1), operation, "object_alloc")
    refused("more_failed_than_done", set_field(operation, "failed", 10**6), operation, "1000000 failed of")
    refused("failures_that_do_not_add_up", set_field(result, "failed", 3), result, "failed is 3", "up to 0")
    refused("events_that_do_not_add_up", set_field(result, "failed_frees", 3), result, "are not 5000 events")
    refused("a_breakdown_that_does_not_add_up", lambda r: r[result]["final"].update(other=-1), result,
            "final.held is")
    refused("a_peak_below_a_sample", set_field(result, "peak_requested", 1), result, "peak_requested is 1")
    refused("two_page_sizes", set_field(result, "page_size", 4096), result, "page_size is 4096 here and 8192")


def complain(report: Report, console: bytes, line: int, *texts: str) -> None:
    """The console must be refused at that line with a message that holds all of the texts."""
    try:
        read_run(console)
    except RecordError as error:
        report.check(error.line == line, f"line {error.line} is named, not {line}: {error}")
        for text in texts:
            report.check(text in str(error), f"{text!r} is not in {str(error)!r}")
    else:
        report.check(False, "accepted")


def broken_consoles(report: Report) -> None:
    """What can happen to the text itself."""
    console = synthetic.console(synthetic.records(TRACES[1], "own", 8192))
    lines = console.split(b"\r\n")
    first = next(place for place, line in enumerate(lines) if line.startswith(b"@study"))
    end = next(place for place, line in enumerate(lines) if b'"kind": "end"' in line)
    with report.case("report_reads_a_good_console"):
        run = read_run(console)
        report.check(run.config.page_size == 8192 and len(run.operations) == len(CLASSES), "another run")
        report.check(read_run(console.replace(b"\r\n", b"\n")) == run, "line ends matter")
    with report.case("report_refuses_silence"):
        complain(report, b"", 0, "no record")
        complain(report, b"OpenSBI v1.1\r\n", 0, "no record")
    with report.case("report_refuses_a_console_cut_anywhere"):
        whole = console.index(b'"crc": ', console.rindex(b"@study"))
        for length in range(console.index(b"@study"), whole, 997):
            try:
                read_run(console[:length])
            except RecordError:
                continue
            report.check(False, f"accepted when cut to {length} bytes")
    with report.case("report_refuses_a_run_without_end"):
        complain(report, b"\r\n".join(lines[:end]), end, "ends after record result", "incomplete")
    with report.case("report_refuses_a_changed_digit"):
        changed = list(lines)
        changed[first + 3] = re.sub(rb'"held": (\d*)(\d)', lambda found: b'"held": %s%d' % (
            found[1], int(found[2]) ^ 1), changed[first + 3])
        complain(report, b"\r\n".join(changed), end + 1, "CRC")
    with report.case("report_refuses_a_lost_record"):
        text = lines[end].replace(b'"records": ', b'"records": 1')
        complain(report, b"\r\n".join([*lines[:end], text]), end + 1, "records announced")
    with report.case("report_refuses_a_record_amid_other_text"):
        changed = list(lines)
        changed[first + 2] = b"hart 2: " + changed[first + 2]
        complain(report, b"\r\n".join(changed), first + 3, "does not begin its line")
    with report.case("report_refuses_what_is_no_json"):
        for text in (b"{", b"[1]", b"[" * 5000, b"\xff", b'{"a":NaN}', b'{"kind":"end","kind":"end"}',
                     b"1" + b"0" * 5000, b""):
            complain(report, b"\r\n".join([*lines[:first + 1], b"@study " + text]), first + 2)
        complain(report, b"\r\n".join([*lines[:first + 1], b"@study"]), first + 2)
    with report.case("report_refuses_an_endless_line"):
        endless = b"@study " + b" " * 70000
        complain(report, b"\r\n".join([*lines[:first], endless]), first + 1, "longest allowed")
    with report.case("report_refuses_records_after_the_end"):
        complain(report, console + lines[first], len(lines), "record config comes after end")


def numbers(report: Report, study: Study) -> None:
    """What is written is what the records say."""
    files = {name: rows_of(text) for name, text in csv_files(study).items()}

    def of(name: str, run: Run) -> list[dict[str, str]]:
        key = (run.config.trace, run.config.bound, str(run.config.page_size))
        return [row for row in files[name] if (row["trace"], row["bound"], row["page_size"]) == key]

    with report.case("report_csv_equals_the_records"):
        for run in study.runs():
            [row] = of("summary.csv", run)
            for name in ("metadata", "ram_bytes", "baseline_free", "trace_crc"):
                report.check(row[name] == str(getattr(run.config, name)), f"summary.csv: {name}")
            for name in ("peak_requested", "peak_held", "failed", "skipped_frees", "handovers"):
                report.check(row[name] == str(getattr(run.result, name)), f"summary.csv: {name}")
            for name, value in vars(run.result.peak).items():
                report.check(row[f"at_peak_{name}"] == str(value), f"summary.csv: at_peak_{name}")
            for name, value in vars(run.result.final).items():
                report.check(row[f"final_{name}"] == str(value), f"summary.csv: final_{name}")
            for operation, row in zip(run.operations, of("operations.csv", run), strict=True):
                for name in ("count", "failed", "instructions", "min", "max"):
                    report.check(row[name] == str(getattr(operation, name)), f"operations.csv: {name}")
                counts = [r for r in of("histogram.csv", run) if r["class"] == operation.class_]
                report.check(sum(int(r["count"]) for r in counts) == operation.count, "histogram.csv: count")
            for sample, row in zip(run.samples, of("samples.csv", run), strict=True):
                report.check((row["event"], row["requested"], row["held"])
                             == (str(sample.event), str(sample.requested), str(sample.held)), "samples.csv")
            orders = of("orders.csv", run)
            for name, field in (("free_blocks", "free"), ("unusable", "unusable")):
                recorded = [number for sample in run.samples for number in getattr(sample, field)]
                report.check([int(row[name]) for row in orders] == recorded, f"orders.csv: {name}")
            for row in orders:
                size = run.config.page_size << int(row["order"])
                report.check(row["block_bytes"] == str(size), "orders.csv: block_bytes")
    with report.case("report_ratios_are_to_the_smallest_page_of_the_same_trace_and_bound"):
        rows = {(row["trace"], row["bound"], row["page_size"]): row
                for row in rows_of(csv_files(made_study((8192, 65536)))["summary.csv"])}
        for (trace, bound, _), row in rows.items():
            base = rows[trace, bound, "8192"]
            held = int(row["peak_held"]) / int(base["peak_held"])
            report.check(row["peak_held_ratio"] == f"{held:.4f}", "held")
            cost = [int(r["instructions"]) / int(r["operations"]) for r in (row, base)]
            report.check(row["instructions_ratio"] == f"{cost[0] / cost[1]:.4f}", "instructions")
    with report.case("report_every_column_is_in_the_dictionary"):
        listed = [(row["file"], row["column"]) for row in files["dictionary.csv"]]
        found = [(table.file, column) for table in TABLES for column in files[table.file][0]]
        report.check(listed == found, f"{set(listed) ^ set(found)}")
        report.check(all(row["meaning"] for row in files["dictionary.csv"]), "a column without a meaning")
    with report.case("report_terminal_shows_every_run_and_the_answer"):
        text = tables(study)
        report.check(text.isascii(), "not all of it is ASCII")
        shown = " ".join(text.split())
        for sentence in answer.sentences(study):
            report.check(sentence in shown.replace(" - ", " "), f"missing: {sentence}")
        for run in study.runs():
            held = f"{round(run.result.peak_held / 1024):,}"
            report.check(held in text, f"missing: {held}")


def sentences(report: Report, study: Study) -> None:
    """The answer says what the numbers say."""
    with report.case("report_answer_pairs_cost_and_saving_of_every_page_size"):
        cost, saving, balance, failures = answer.sentences(study)
        for size in study.larger:
            for bound in BOUNDS:
                ratios = [study.run(trace, bound, size).result.peak_held
                          / study.run(trace, bound, 4096).result.peak_held for trace in study.traces]
                mean = math.prod(ratios) ** (1 / len(ratios))
                report.check(answer.times(mean) in cost, f"{answer.times(mean)} is not in: {cost}")
            report.check(measures.size_name(size) in cost and measures.size_name(size) in saving, saving)
        report.check("fewer" in saving and balance.startswith("Balance:"), saving + balance)
        report.check("No allocation failed" in failures, failures)
    with report.case("report_changes_are_put_in_words"):
        for values, words in (((0.95, 0.77), "5 to 23 % fewer"), ((0.9, 0.9), "10 % fewer"),
                              ((1.0, 1.001), "as many"), ((1.2, 1.5), "20 to 50 % more"),
                              ((0.97, 1.02), "3 % fewer to 2 % more"),
                              ((0.9, 1.0), "up to 10 % fewer"), ((1.0, 1.1), "up to 10 % more")):
            found = answer.change(list(values))
            report.check(found == words, f"{values}: {found!r}, expected {words!r}")
    with report.case("report_failed_allocations_are_told"):
        def fail(records: list[Record]) -> None:
            pages_taken = next(record for record in records if record.get("class") == "page_alloc")
            records[-1]["failed"] = pages_taken["failed"] = 41
        runs = [made_run(TRACES[0], "own", 4096), made_run(TRACES[0], "own", 65536, fail)]
        failing = Study(runs, [study.sources[0]], STAMP)
        for text in (*answer.sentences(failing)[-1:], tables(failing), html(failing)):
            report.check("41" in text, "41 is not told")
        report.check("41 with 64 KB pages" in answer.sentences(failing)[-1], answer.sentences(failing)[-1])
    with report.case("report_a_part_of_the_matrix_makes_a_report"):
        for part in (made_study((8192,), ("own",), TRACES[:1]), made_study((8192, 65536), ("packed",))):
            shown = tables(part) + html(part)
            report.check("8 KB" in shown and "x 8KB" in shown, "the smallest page is not the baseline")
        only = answer.sentences(made_study((16384,)))
        report.check("Only 16 KB pages" in only[0], only[0])
    with report.case("report_an_incomplete_matrix_is_refused"):
        for runs in (study.runs()[1:], [*study.runs(), study.runs()[0]], []):
            try:
                Study(runs, study.sources, STAMP)
            except StudyError:
                continue
            report.check(False, f"{len(runs)} runs make a study")


def pages(report: Report, study: Study) -> None:
    """The page stands alone, is sound, and is always the same."""
    text = html(study)
    page = Page(text)
    with report.case("report_page_needs_nothing_but_itself"):
        files = {table.file for table in TABLES} | {"dictionary.csv"}
        for reference in page.references:
            report.check(reference in files or reference.startswith("#"), f"refers to {reference}")
        for word in ("http:", "https:", "//fonts", "@import", "url(\"", "url('", "src=", "<script", "<link"):
            report.check(word not in text, f"holds {word}")
    with report.case("report_page_is_sound"):
        report.check(page.open == [], f"left open: {page.open}")
        doubles = {i for i in page.identifiers if page.identifiers.count(i) > 1}
        report.check(not doubles, f"identifiers given twice: {sorted(doubles)[:5]}")
        for reference in page.references + re.findall(r"url\((#[^)]+)\)", text):
            if reference.startswith("#"):
                report.check(reference[1:] in page.identifiers, f"{reference} leads nowhere")
    with report.case("report_figures_can_be_read_without_seeing_them"):
        figures = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
        report.check(len(figures) == 7, f"{len(figures)} figures")
        for figure in figures:
            root = ElementTree.fromstring(figure)
            title, description = root.find("title"), root.find("desc")
            report.check(title is not None and bool(title.text), "a figure without a title")
            report.check(description is not None and len(description.text or "") > 20, "undescribed")
            labels = f"{title.get('id')} {description.get('id')}"
            report.check(root.get("aria-labelledby") == labels, f"not labelled by {labels}")
            report.check(root.find(".//text") is not None, "its text is not text")
    with report.case("report_page_quotes_what_it_is_given_as_text"):
        report.check("GCC &lt;12&gt; &amp; others" in text and "A &lt;workload&gt;" in text, "not quoted")
    with report.case("report_the_same_study_gives_the_same_bytes"):
        again = made_study()
        report.check(html(again) == text, "another page")
        report.check(csv_files(again) == csv_files(study), "other CSV files")
        report.check(zlib.crc32(tables(again).encode()) == zlib.crc32(tables(study).encode()), "other tables")


def main() -> int:
    report = Report()
    study = made_study()
    broken_consoles(report)
    refusals(report)
    numbers(report, study)
    sentences(report, study)
    pages(report, study)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
