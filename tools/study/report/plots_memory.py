# Figures of memory: held against requested over time, what it consists of, and the memmap and page tables.
# SPDX-License-Identifier: BSD-2-Clause

from typing import Callable

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from . import measures, style
from .answer import interval, mib, percent
from .measures import KIB, MIB, PART_NAMES, Study, size_name
from .records import PARTS, Run, Sample
from .style import INK, MUTED, PAGE_COLOURS, PAGE_MARKERS, PART_COLOURS, Figure

_DEPTH = 24     # the vertical scale begins at this part of the most that was requested


def _memory_panel(axes: Axes, runs: list[Run], colour: str, bottom: float) -> None:
    """A band between the bounds, and the line of what was requested; all of it above `bottom`, in MiB."""
    def series(run: Run, take: Callable[[Sample], int]) -> list[float]:
        return [max(take(sample) / MIB, bottom / 2) for sample in run.samples]

    held = [([sample.event for sample in run.samples], series(run, lambda sample: sample.held))
            for run in runs]
    if len(held) > 1 and held[0][0] == held[1][0]:
        axes.fill_between(held[0][0], held[1][1], held[0][1], color=colour, alpha=0.28, linewidth=0)
    for events, values in held:
        axes.plot(events, values, color=colour, linewidth=1.1)
    axes.plot(held[0][0], series(runs[0], lambda sample: sample.requested), color=INK, linewidth=1.1)


def memory(study: Study) -> Figure:
    """Held memory as a band between the bounds, over what was requested."""
    rows = len(study.traces)
    drawing, panels = style.subplots(rows, len(study.page_sizes), 1.12 * rows + 1.1, sharey="row")
    style.margins(drawing, 1.35, 0.15, 0.7, 0.5, wspace=0.12, hspace=0.38)
    described = []
    for trace, row in zip(study.traces, panels):
        cells = {size: [study.run(trace, bound, size) for bound in study.bounds] for size in study.page_sizes}
        runs = [run for cell in cells.values() for run in cell]
        requested = max(run.result.peak_requested for run in runs)
        bottom = max(requested / _DEPTH, KIB) / MIB
        for (size, cell), axes in zip(cells.items(), row):
            _memory_panel(axes, cell, PAGE_COLOURS[size], bottom)
            axes.set_yscale("log", base=2)
            axes.set_ylim(bottom, max(run.result.peak_held for run in runs) / MIB * 1.25)
            axes.yaxis.set_major_locator(FixedLocator([4.0 ** power for power in range(-5, 12)]))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(axis="y")
            style.event_axis(axes, runs[0].config.events, trace == study.traces[-1])
        style.row_label(row[0], trace)
        held = [f"{interval([run.result.peak_held for run in cell], mib)} with {size_name(size)} pages"
                for size, cell in cells.items()]
        described.append(f"{trace}: requested {mib(requested)}, held {', '.join(held)}")
    for size, axes in zip(study.page_sizes, panels[0]):
        axes.set_title(f"{size_name(size)} pages", color=PAGE_COLOURS[size], fontweight="bold", pad=10)
    drawing.text(0.012, 0.995, "MiB; each step is four times the one below", va="top", color=MUTED,
                 fontsize=8.5)
    return style.finished(
        "memory", "Memory held, and memory asked for, over each trace",
        "The dark line is what live requests asked for: it is the same at every page size. The band is what "
        "was taken from the page allocator for it: its lower edge where neighbouring requests share a page, "
        "its upper edge where each has pages of its own. The scale is logarithmic: the distance between line "
        "and band is the factor paid.", f"At the peak: {'; '.join(described)}.", drawing)


def _waste_panel(axes: Axes, study: Study, trace: str, bars: list[tuple[int, str, str]]) -> None:
    """Bars of (page size, bound, label), each all that is held at the peak of a run."""
    for place, (size, bound, _) in enumerate(bars):
        peak = study.run(trace, bound, size).result.peak
        left = 0.0
        for part in PARTS:
            share = max(0, getattr(peak, part)) / peak.held
            axes.barh(-place, share, left=left, height=0.74, color=PART_COLOURS[part], edgecolor="white",
                      linewidth=0.5)
            left += share
        axes.annotate(mib(peak.held), (1.02, -place), va="center", annotation_clip=False, fontsize=8.5)
    axes.set_yticks([-place for place in range(len(bars))], [label for _, _, label in bars])
    for label, (size, _, _) in zip(axes.get_yticklabels(), bars):
        label.set_color(PAGE_COLOURS[size])
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(trace, fontweight="bold")


def waste(study: Study) -> Figure:
    """What the memory held at the peak consists of, as shares."""
    columns = min(2, len(study.traces))
    rows = -(-len(study.traces) // columns)
    bars = {trace: [(size, bound, size_name(size) + ("" if label == "both" else f"  {label}"))
                    for size in study.page_sizes for bound, label in study.shown_bounds(trace, size)]
            for trace in study.traces}
    drawing, panels = style.subplots(rows, columns, rows * (0.2 * max(map(len, bars.values())) + 0.62) + 0.6)
    style.margins(drawing, 1.25, 0.95, 0.66, 0.35, wspace=0.62, hspace=0.42)
    flat = [axes for row in panels for axes in row]
    for trace, axes in zip(study.traces, flat):
        _waste_panel(axes, study, trace, bars[trace])
    for axes in flat[len(study.traces):]:
        axes.set_visible(False)
    handles = [Patch(facecolor=PART_COLOURS[part], edgecolor="white", label=PART_NAMES[part])
               for part in PARTS]
    drawing.legend(handles=handles, loc="upper center", ncol=len(PARTS), handlelength=1.1, columnspacing=1.4)
    described = [f"{trace}: " + ", ".join(
        f"{' '.join(label.split())} {percent(measures.internal_waste(run) / run.result.peak_held)}"
        for size, bound, label in bars[trace] for run in [study.run(trace, bound, size)])
        for trace in study.traces]
    return style.finished(
        "waste", "What the held memory consists of, when most is held",
        "Each bar is all memory held at the peak of one run; its size stands to the right. Page rounding is "
        "what pages hold beyond the request behind them, slab rounding what objects take beyond their size; "
        "free in slabs is memory kept ready for objects to come.",
        f"Share of rounding in the memory held: {'; '.join(described)}.", drawing)


def _memmap_panel(axes: Axes, study: Study) -> None:
    places = [-place for place in range(len(study.page_sizes))]
    sizes = [study.metadata(size) for size in study.page_sizes]
    axes.barh(places, [size / MIB for size in sizes], height=0.62,
              color=[PAGE_COLOURS[size] for size in study.page_sizes])
    for place, size in zip(places, sizes):
        axes.annotate(f"{mib(size)}, {percent(size / study.ram_bytes)}", (size / MIB, place), xytext=(5, 0),
                      textcoords="offset points", va="center", annotation_clip=False)
    axes.set_yticks(places, [size_name(size) for size in study.page_sizes])
    axes.set_xlim(0, max(sizes) / MIB * 1.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.locator_params(axis="x", nbins=6)
    axes.set_title(f"memmap of {size_name(study.ram_bytes)} RAM", fontweight="bold")
    axes.set_xlabel("MiB")


def _tables_panel(axes: Axes, study: Study) -> None:
    middle = (len(study.page_sizes) - 1) / 2
    for place, trace in enumerate(study.traces):
        for shift, size in enumerate(study.page_sizes):
            tables = study.run(trace, study.bounds[0], size).result.peak.page_tables
            axes.plot([tables / KIB], [-place - 0.17 * (shift - middle)], PAGE_MARKERS[size],
                      color=PAGE_COLOURS[size], markersize=4.5)
    axes.set_yticks([-place for place in range(len(study.traces))], study.traces)
    axes.set_ylim(-len(study.traces) + 0.4, 0.6)
    axes.margins(x=0.08)
    axes.set_xlim(left=min(-0.3, axes.get_xlim()[0]))
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.set_title("kernel page tables grown, at the peak", fontweight="bold")
    axes.set_xlabel("KiB")


def bookkeeping(study: Study) -> Figure:
    """What the kernel pays to know its pages: the memmap, and page tables."""
    drawing, panels = style.subplots(1, 2, 0.32 * max(4, len(study.traces)) + 1.15,
                                     gridspec_kw={"width_ratios": [1, 1.15]})
    style.margins(drawing, 0.85, 0.35, 0.4, 0.75, wspace=0.62)
    _memmap_panel(panels[0][0], study)
    _tables_panel(panels[0][1], study)
    for axes in panels[0]:
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], color=PAGE_COLOURS[size], marker=PAGE_MARKERS[size], linestyle="",
                      label=f"{size_name(size)} pages") for size in study.page_sizes]
    drawing.legend(handles=handles, loc="lower center", ncol=4)
    described = ", ".join(f"{size_name(size)} pages {mib(study.metadata(size))}" for size in study.page_sizes)
    return style.finished(
        "bookkeeping", "What it costs to know the pages",
        "The memmap holds one descriptor for each page of RAM, used or not: it is proportional to RAM, not "
        "to what is held. Page tables are 4 KB each at every page size, and only vmalloc areas make them "
        "grow: the map of all RAM is there before.", f"Memmap: {described}.", drawing)
