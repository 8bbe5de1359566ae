# The study's question answered in plain sentences, and the few numbers behind them.
# SPDX-License-Identifier: BSD-2-Clause
"""Every figure of speed stands beside the memory it costs. Two figures are those of the two bounds: an
interval between two ways of placing requests, not a statistical one."""

from dataclasses import dataclass
from typing import Callable

from . import measures
from .measures import KIB, MIB, Study, size_name
from .records import Run

BOUND_NAMES = {"own": "pages of its own for each request", "packed": "neighbouring requests sharing a page"}


def times(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def mib(value: int) -> str:
    """Bytes in MiB with as many decimals as three significant digits take."""
    size = value / MIB
    decimals = 2 if abs(size) < 9.995 else 1 if abs(size) < 99.95 else 0
    return f"{size:,.{decimals}f} MiB"


def percent(share: float) -> str:
    return f"{100 * share:.2f} %" if 0 < share < 0.00995 else f"{100 * share:.1f} %"


def joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def interval(values: list[float], show: Callable[[float], str], dash: str = "–") -> str:
    """One figure, or two with a dash where they look different."""
    low, high = show(min(values)), show(max(values))
    return low if low == high else f"{low}{dash}{high}"


def change(values: list[float]) -> str:
    """Ratios as a change: `5 % fewer`, `5 to 22 % fewer`, `3 % fewer to 2 % more`."""
    low, high = round(100 * (min(values) - 1)), round(100 * (max(values) - 1))
    if low == high:
        return "as many" if low == 0 else f"{abs(low)} % {'fewer' if low < 0 else 'more'}"
    if high <= 0:
        return f"{-high} to {-low} % fewer" if high else f"up to {-low} % fewer"
    if low >= 0:
        return f"{low} to {high} % more" if low else f"up to {high} % more"
    return f"{-low} % fewer to {high} % more"


@dataclass(frozen=True)
class KeyRow:
    """One page size over all traces: its memory, work and bookkeeping. Intervals from bound to bound."""
    page_size: int
    held: str
    waste: str
    instructions: str
    memmap: str
    memmap_share: str
    failed: int


def _by_bound(study: Study, measure: Callable[[Run], float], page_size: int) -> list[float]:
    return [study.mean_ratio(measure, bound, page_size) for bound in study.bounds]


def _waste_share(study: Study, bound: str, page_size: int) -> float:
    runs = [study.run(trace, bound, page_size) for trace in study.traces]
    return sum(map(measures.internal_waste, runs)) / sum(run.result.peak_held for run in runs)


def key_rows(study: Study) -> list[KeyRow]:
    rows = []
    for size in study.page_sizes:
        waste = [_waste_share(study, bound, size) for bound in study.bounds]
        rows.append(KeyRow(
            size, interval(_by_bound(study, measures.peak_held, size), times),
            interval(waste, percent).replace(" %–", "–"),
            interval(_by_bound(study, measures.instructions_per_operation, size), times),
            mib(study.metadata(size)), percent(study.metadata(size) / study.ram_bytes), study.failed(size)))
    return rows


def _means(study: Study, measure: Callable[[Run], float], page_size: int) -> str:
    return interval(_by_bound(study, measure, page_size), times, " to ")


def _memory(study: Study) -> str:
    means = [_means(study, measures.peak_held, size) for size in study.larger]
    parts = [f"{mean} times {'as much ' if place == 0 else ''}with {size_name(size)} pages"
             for place, (mean, size) in enumerate(zip(means, study.larger))]
    bounds = ("neighbouring requests sharing a page, to each having pages of its own"
              if len(study.bounds) > 1 else BOUND_NAMES[study.bounds[0]])
    return (f"Memory: against {size_name(study.baseline)} pages, what is held at the peak is "
            f"{joined(parts)} ({bounds}; {_averaged(study)}).")


def _averaged(study: Study) -> str:
    count = len(study.traces)
    return f"geometric mean of {count} traces" if count > 1 else f"trace {study.traces[0]}"


def _work(study: Study) -> str:
    changes = [change(_by_bound(study, measures.instructions_per_operation, size)) for size in study.larger]
    parts = [f"{changed} with {size_name(size)} pages" for changed, size in zip(changes, study.larger)]
    memmap = [mib(study.metadata(size)) for size in study.larger]
    return (f"Work: instructions per operation are {joined(parts)}, and the page descriptors of "
            f"{size_name(study.ram_bytes)} RAM take {joined(memmap)} instead of "
            f"{mib(study.metadata(study.baseline))}.")


def _balance(study: Study) -> str:
    def total(trace: str, bound: str, size: int) -> int:
        run = study.run(trace, bound, size)
        return run.result.peak_held + run.config.metadata

    parts = []
    for bound in study.bounds:
        best = [min(study.page_sizes, key=lambda size: (total(trace, bound, size), size))
                for trace in study.traces]
        shares = {size: f" in {best.count(size)} of {len(best)} traces" if len(best) > 1 else ""
                  for size in study.page_sizes if size in best}
        leaders = [f"{size_name(size)} pages{share}" for size, share in shares.items()]
        parts.append(f"{joined(leaders)} ({BOUND_NAMES[bound]})")
    return f"Balance: what is held and its descriptors together take least with {', and with '.join(parts)}."


def _failures(study: Study) -> str:
    failed = [(size, study.failed(size)) for size in study.page_sizes if study.failed(size)]
    if not failed:
        return "No allocation failed at any page size."
    parts = [f"{count:,} with {size_name(size)} pages" for size, count in failed]
    return f"Allocations failed: {joined(parts)}; what failed is not held, so memory there is understated."


def question(study: Study) -> str:
    sizes = joined([str(size // KIB) for size in study.page_sizes])
    return f"What do {sizes} KB pages cost and save?"


def sentences(study: Study) -> list[str]:
    if not study.larger:
        return [f"Only {size_name(study.baseline)} pages were run: there is nothing to compare them with.",
                _failures(study)]
    return [_memory(study), _work(study), _balance(study), _failures(study)]
