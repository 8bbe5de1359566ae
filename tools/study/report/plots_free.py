# The figure of fragmentation: free memory that lies in blocks too small to be of use, over time.
# SPDX-License-Identifier: BSD-2-Clause

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from . import style
from .measures import KIB, MIB, Study, size_name
from .records import Run
from .style import BOUND_DASHES, PAGE_COLOURS, Figure

# In bytes, because an order is another size at each page size; the last is what a middle table's entry maps.
BLOCKS = (64 * KIB, 512 * KIB, 2 * MIB)


def _index(run: Run, block: int) -> list[float] | None:
    """The index for blocks of so many bytes over the samples; None where the allocator knows none such."""
    order = (block // run.config.page_size).bit_length() - 1
    if not 0 <= order <= run.config.max_order:
        return None
    return [sample.unusable[order] / 1000 for sample in run.samples]


def _panel(axes: Axes, study: Study, trace: str, block: int) -> None:
    highest = 0.0
    for size in study.page_sizes:
        for bound, _ in study.shown_bounds(trace, size):
            run = study.run(trace, bound, size)
            values = _index(run, block)
            if values is not None:
                highest = max(highest, *values)
                axes.plot([sample.event for sample in run.samples], values, color=PAGE_COLOURS[size],
                          linestyle=BOUND_DASHES[bound], linewidth=1.2)
    axes.set_ylim(0, max(0.01, 1.1 * highest))
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.grid(axis="y")


def fragmentation(study: Study) -> Figure:
    """The unusable-free-space index over the events, for blocks of the same bytes at every page size."""
    rows = len(study.traces)
    drawing, panels = style.subplots(rows, len(BLOCKS), 1.12 * rows + 1.05)
    style.margins(drawing, 1.4, 0.15, 0.4, 0.9, wspace=0.24, hspace=0.38)
    for trace, row in zip(study.traces, panels):
        for block, axes in zip(BLOCKS, row):
            _panel(axes, study, trace, block)
            events = study.run(trace, study.bounds[0], study.baseline).config.events
            style.event_axis(axes, events, trace == study.traces[-1])
        style.row_label(row[0], trace)
    for block, axes in zip(BLOCKS, panels[0]):
        axes.set_title(f"for blocks of {size_name(block)}", pad=10)
    handles = style.size_lines(study) + (style.bound_lines(study) if len(study.bounds) > 1 else [])
    drawing.legend(handles=handles, loc="lower center", ncol=len(handles), columnspacing=1.4)
    described = []
    for trace in study.traces:
        for size in study.page_sizes:
            values = _index(study.run(trace, study.bounds[0], size), BLOCKS[-1])
            if values is not None:
                described.append(f"{trace} with {size_name(size)} pages {100 * values[-1]:.1f} %")
    return style.finished(
        "fragmentation", "Free memory that is of no use",
        "The unusable-free-space index: the share of free memory that lies in blocks too small for a request "
        "of the given size. Compared are blocks of the same bytes, whatever their order is at a page size; 2 "
        "MB is what one entry of a middle page table can map. Each panel has its own scale.",
        f"Index for blocks of {size_name(BLOCKS[-1])} after the last event: {'; '.join(described)}.", drawing)
