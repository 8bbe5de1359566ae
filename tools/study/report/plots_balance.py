# The figure that answers the question: memory beside speed, each trace and page size against the baseline.
# SPDX-License-Identifier: BSD-2-Clause

from typing import Callable

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from . import measures, style
from .answer import interval, key_rows, times
from .measures import Study, size_name
from .records import Run
from .style import INK, MUTED, PAGE_COLOURS, Figure

_GROUP_GAP = 0.7        # between the rows of two page sizes, in rows
_LOG_TICKS = (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)
_LOG_FROM = 2.5         # a scale that spans more than this is logarithmic


def _bar(axes: Axes, y: float, values: list[float], colour: str, is_mean: bool) -> None:
    """One row: an open mark for the bound packed, a full one for pages of its own, and what lies between."""
    own, packed = values[0], values[-1]
    shape, size = ("D", 6.5) if is_mean else ("o", 4.2)
    axes.plot([packed, own], [y, y], color=colour, linewidth=2.4 if is_mean else 1.0, zorder=2,
              solid_capstyle="butt")
    axes.plot([own], [y], shape, color=colour, markersize=size, zorder=4)
    if len(values) > 1:
        axes.plot([packed], [y], shape, markerfacecolor="white", markeredgecolor=colour, markersize=size,
                  markeredgewidth=1.4, zorder=3)


def _panel(axes: Axes, study: Study, measure: Callable[[Run], float], rows: dict[int, float]) -> None:
    """All rows of one measure; `rows` says where each page size begins."""
    shown = [1.0]
    for size, top in rows.items():
        means = [study.mean_ratio(measure, bound, size) for bound in study.bounds]
        _bar(axes, top, means, PAGE_COLOURS[size], True)
        axes.annotate(interval(means, times), (1.02, top), xycoords=("axes fraction", "data"), va="center",
                      color=PAGE_COLOURS[size], fontweight="bold", annotation_clip=False)
        for place, trace in enumerate(study.traces, 1):
            values = [study.ratio(measure, trace, bound, size) for bound in study.bounds]
            _bar(axes, top - place, values, PAGE_COLOURS[size], False)
            shown += values
    axes.axvline(1, color=MUTED, linewidth=0.9, zorder=1)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    low, high = min(shown), max(shown)
    if high / low > _LOG_FROM:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([t for t in _LOG_TICKS if low / 1.3 <= t <= high * 1.3]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(low / 1.08, high * 1.12)


def _row_names(axes: Axes, study: Study, rows: dict[int, float]) -> None:
    places, labels = [], []
    for size, top in rows.items():
        axes.annotate(size_name(size), (0.012, top), xycoords=("figure fraction", "data"), va="center",
                      color=PAGE_COLOURS[size], fontweight="bold", annotation_clip=False, fontsize=11)
        for place, name in enumerate(("mean", *study.traces)):
            places.append(top - place)
            labels.append(name)
    axes.set_yticks(places, labels)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == "mean" else "regular")


def _marks(study: Study) -> list[Line2D]:
    return [Line2D([], [], color=INK, marker="o", linestyle="", markerfacecolor=face, label=label)
            for bound, face, label in (("packed", "white", "neighbouring requests share a page"),
                                       ("own", INK, "each request has pages of its own"))
            if bound in study.bounds]


def balance(study: Study) -> Figure:
    """Every trace's ratios to the baseline: memory on the left, instructions on the right, in one row."""
    step = len(study.traces) + 1 + _GROUP_GAP
    rows = {size: -step * place for place, size in enumerate(study.larger)}
    drawing, panels = style.subplots(1, 2, 0.205 * step * len(rows) + 0.95, sharey=True)
    style.margins(drawing, 1.75, 0.75, 0.35, 0.5, wspace=0.3)
    for axes, (name, measure) in zip(panels[0], (
            ("memory held at its peak", measures.peak_held),
            ("instructions per operation", measures.instructions_per_operation))):
        _panel(axes, study, measure, rows)
        axes.set_title(f"{name}, {size_name(study.baseline)} pages = 1")
    panels[0][0].set_ylim(-step * len(rows) + _GROUP_GAP + 0.3, 0.8)
    _row_names(panels[0][0], study, rows)
    drawing.legend(handles=_marks(study), loc="lower center", ncol=2, borderaxespad=0.1)
    described = "; ".join(
        f"{size_name(row.page_size)} pages: {row.held} times the memory, {row.instructions} times the "
        "instructions per operation" for row in key_rows(study)[1:])
    return style.finished(
        "balance", "Memory beside speed",
        f"Each row is a trace at one page size, compared with {size_name(study.baseline)} pages; diamonds "
        "are geometric means over the traces. Right of the line is more, left of it is less. Read a row "
        "across: its memory on the left, the work that goes with it on the right.",
        f"Relative to {size_name(study.baseline)} pages: {described}.", drawing)
