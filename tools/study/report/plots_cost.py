# Figures of speed: what an operation of each class costs on average, and how often one costs much.
# SPDX-License-Identifier: BSD-2-Clause

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from . import measures, style
from .measures import CLASS_NAMES, Study, size_name
from .records import CLASSES, LOG2_BUCKETS, Operation
from .style import BOUND_DASHES, FAINT, INK, PAGE_COLOURS, PAGE_MARKERS, Figure


def _of_class(study: Study, class_: str, bound: str, size: int) -> list[Operation]:
    return [study.run(trace, bound, size).operations[CLASSES.index(class_)] for trace in study.traces]


def _mean(chosen: list[Operation]) -> float | None:
    """Mean cost with each operation counting once, whatever trace it is of."""
    count = sum(operation.count for operation in chosen)
    return sum(operation.instructions for operation in chosen) / count if count else None


def _class_panel(axes: Axes, study: Study, class_: str) -> str:
    """Draws one class; returns it in words."""
    axes.set_title(CLASS_NAMES[class_], fontweight="bold")
    places = list(range(len(study.page_sizes)))
    means = {bound: [_mean(_of_class(study, class_, bound, size)) for size in study.page_sizes]
             for bound in study.bounds}
    first = means[study.bounds[0]]
    if None in first:
        style.note(axes, "no such operation")
        return f"{CLASS_NAMES[class_]}: none"
    highest = 0.0
    for trace in study.traces:
        costs = [measures.class_cost(study.run(trace, study.bounds[0], size), class_)
                 for size in study.page_sizes]
        if None not in costs:
            axes.plot(places, costs, color=FAINT, linewidth=1.1, zorder=1)
            highest = max(highest, *costs)
    for bound in reversed(study.bounds):
        axes.plot(places, means[bound], color=INK, linestyle=BOUND_DASHES[bound], linewidth=1.2, zorder=2)
        for place, size, mean in zip(places, study.page_sizes, means[bound]):
            axes.plot([place], [mean], PAGE_MARKERS[size], color=PAGE_COLOURS[size], markersize=6, zorder=3,
                      markerfacecolor=PAGE_COLOURS[size] if bound == study.bounds[0] else "white")
        highest = max(highest, *means[bound])
    for place, mean in zip(places, first):
        axes.annotate(f"{mean:,.0f}", (place, mean), textcoords="offset points", xytext=(0, 7), ha="center",
                      fontsize=8.5)
    axes.set_ylim(0, 1.22 * highest)
    axes.set_xlim(-0.4, places[-1] + 0.4)
    axes.set_xticks(places, [size_name(size) for size in study.page_sizes])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.locator_params(axis="y", nbins=6)
    axes.grid(axis="y")
    return f"{CLASS_NAMES[class_]}: {', '.join(f'{mean:,.0f}' for mean in first)}"


def classes(study: Study) -> Figure:
    """Mean instructions of each class over the page sizes."""
    drawing, panels = style.subplots(2, 3, 4.9)
    style.margins(drawing, 0.6, 0.2, 0.35, 0.75, wspace=0.25, hspace=0.42)
    flat = [axes for row in panels for axes in row]
    described = [_class_panel(axes, study, class_) for class_, axes in zip(CLASSES, flat)]
    handles = style.bound_lines(study, "all traces, ") + [Line2D([], [], color=FAINT, label="one trace")]
    drawing.legend(handles=handles, loc="lower center", ncol=3)
    return style.finished(
        "classes", "Instructions per operation, by class",
        "Mean over all operations of a class, from the call to its return. An allocation that asks for "
        "zeroed memory includes the zeroing, of the whole page. Where neighbouring requests share a page, "
        "most page requests only take or give back a part of an open page, and cost accordingly.",
        f"Instructions with pages of {', '.join(map(size_name, study.page_sizes))}: {'; '.join(described)}.",
        drawing)


def _tail_panel(axes: Axes, study: Study, class_: str) -> None:
    axes.set_title(CLASS_NAMES[class_], fontweight="bold")
    highest = -1
    for size in study.page_sizes:
        chosen = _of_class(study, class_, study.bounds[0], size)
        counts = [sum(operation.log2[power] for operation in chosen) for power in range(LOG2_BUCKETS)]
        used = [power for power, count in enumerate(counts) if count]
        if used:
            highest = max(highest, used[-1])
            beyond = [sum(counts[power:]) / sum(counts) for power in range(used[-1] + 1)]
            axes.step(range(used[-1] + 2), [*beyond, beyond[-1]], where="post", color=PAGE_COLOURS[size])
    if highest < 0:
        style.note(axes, "no such operation")
        return
    first = min(2, highest)
    ticks = list(range(first, highest + 2, 2 if highest < 12 else 3 if highest < 17 else 5))
    axes.set_xlim(first, highest + 1)
    axes.set_xticks(ticks, [f"{1 << power:,}" for power in ticks])
    axes.set_yscale("log")
    axes.set_ylim(top=1.4)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.grid(axis="y")


def tails(study: Study) -> Figure:
    """How the cost of single operations is distributed."""
    drawing, panels = style.subplots(2, 3, 4.8)
    style.margins(drawing, 0.7, 0.3, 0.35, 0.9, wspace=0.32, hspace=0.42)
    for class_, axes in zip(CLASSES, [axes for row in panels for axes in row]):
        _tail_panel(axes, study, class_)
    for axes in panels[1]:
        axes.set_xlabel("instructions")
    drawing.legend(handles=style.size_lines(study), loc="lower center", ncol=4)
    return style.finished(
        "tails", "How often an operation costs much",
        f"Share of all traces' operations ({style.BOUND_LABELS[study.bounds[0]]}) that took at least so many "
        " instructions. The steps are powers of two, as the kernel counts them. A line that reaches "
        "further right has rarer, dearer operations: refills, splits, merges.",
        "Distribution of the instructions of single operations, per class and page size. The numbers are in "
        "histogram.csv.", drawing)
