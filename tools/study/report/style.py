# How the figures look, and how matplotlib's SVG becomes a part of an HTML page, the same bytes each time.
# SPDX-License-Identifier: BSD-2-Clause
"""Text stays text in the SVG: it can be read aloud, searched and copied, and the page sets its typeface."""

import io
import re
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure as Drawing  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

from .measures import KIB, Study, size_name  # noqa: E402

WIDTH_IN = 10.0
INK = "#1b1f24"
MUTED = "#6b7178"
FAINT = "#d3d7db"

# Okabe and Ito's palette, told apart with any kind of colour vision; grey is what others are compared with.
PAGE_COLOURS = {4 * KIB: "#6b7178", 8 * KIB: "#0072b2", 16 * KIB: "#009e73", 64 * KIB: "#d55e00"}
PAGE_MARKERS = {4 * KIB: "o", 8 * KIB: "s", 16 * KIB: "^", 64 * KIB: "D"}
PART_COLOURS = {
    "requested": "#d9dce0", "waste_page_rounding": "#d55e00", "waste_slab_rounding": "#e69f00",
    "slab_free": "#f0e442", "page_tables": "#56b4e9", "other": "#8a8f96",
}
BOUND_DASHES: dict[str, Any] = {"own": "-", "packed": (0, (3, 1.6))}
BOUND_LABELS = {"own": "pages of its own", "packed": "sharing a page"}

matplotlib.rcdefaults()
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "quire", "font.family": ["DejaVu Sans"], "font.size": 9,
    "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.titleweight": "regular", "axes.labelsize": 9,
    "axes.edgecolor": "#9aa0a6", "axes.labelcolor": INK, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none", "text.color": INK,
    "xtick.color": MUTED, "xtick.labelcolor": INK, "xtick.labelsize": 8.5, "xtick.major.width": 0.7,
    "ytick.color": MUTED, "ytick.labelcolor": INK, "ytick.labelsize": 8.5, "ytick.major.width": 0.7,
    "xtick.major.size": 3, "xtick.minor.size": 0, "ytick.major.size": 3, "ytick.minor.size": 0,
    "grid.color": "#e7e9ec", "grid.linewidth": 0.7, "legend.frameon": False, "legend.fontsize": 8.5,
    "figure.facecolor": "none", "savefig.facecolor": "none", "lines.linewidth": 1.3,
})

_PROLOGUE = re.compile(r"^.*?(?=<svg )", re.DOTALL)
_STYLE = re.compile(r"<defs>\s*<style type=\"text/css\">.*?</style>\s*</defs>", re.DOTALL)
_ROOT = re.compile(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>")
_IDENTITY = re.compile(r"(\bid=\"|url\(#|xlink:href=\"#)([^\")]+)")
_TAG = re.compile(r"<[^<>]+>")
_LONG_NUMBER = re.compile(r"(-?\d+\.\d{2})\d+")


@dataclass(frozen=True)
class Figure:
    """A picture as the page shows it: what it is about, how to read it, and the SVG element."""
    name: str
    title: str
    caption: str
    svg: str


def subplots(rows: int, columns: int, height_in: float, **options: Any) -> tuple[Drawing, Any]:
    """A drawing of the page's width and a two-dimensional array of its panels."""
    drawing, panels = pyplot.subplots(rows, columns, figsize=(WIDTH_IN, height_in), squeeze=False, **options)
    pyplot.close(drawing)
    return drawing, panels


def margins(drawing: Drawing, left: float, right: float, top: float, bottom: float, **spaces: float) -> None:
    """Margins in inches, so that they stay the same whatever the drawing's height is."""
    width, height = drawing.get_size_inches()
    drawing.subplots_adjust(left=left / width, right=1 - right / width, top=1 - top / height,
                            bottom=bottom / height, **spaces)


def note(axes: Axes, text: str) -> None:
    """What a panel says where it has nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def row_label(axes: Axes, text: str) -> None:
    """The name of a row of panels, to the left of its first."""
    axes.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8, fontweight="bold")


def event_axis(axes: Axes, events: int, is_last: bool) -> None:
    """The horizontal axis of a panel over a whole trace: its two ends, and a name at the lowest panel."""
    axes.set_xlim(0, events)
    axes.set_xticks([0, events], ["0", f"{events / 1000:,.0f} k" if events >= 10000 else f"{events:,}"])
    for label, side in zip(axes.get_xticklabels(), ("left", "right")):
        label.set_horizontalalignment(side)
    if is_last:
        axes.set_xlabel("operations carried out")


def size_lines(study: Study) -> list[Line2D]:
    """Legend: the colour of each page size."""
    return [Line2D([], [], color=PAGE_COLOURS[size], label=f"{size_name(size)} pages")
            for size in study.page_sizes]


def bound_lines(study: Study, prefix: str = "") -> list[Line2D]:
    """Legend: the dashes of each bound."""
    return [Line2D([], [], color=INK, linestyle=BOUND_DASHES[bound], label=prefix + BOUND_LABELS[bound])
            for bound in study.bounds]


def finished(name: str, title: str, caption: str, description: str, drawing: Drawing) -> Figure:
    """The drawing as an <svg> element with title and description; its identifiers all begin with `name`."""
    out = io.StringIO()
    drawing.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = _STYLE.sub("", _PROLOGUE.sub("", out.getvalue()))
    text = _IDENTITY.sub(lambda found: f"{found[1].replace('xlink:', '')}{name}-{found[2]}", text)
    text = _TAG.sub(lambda tag: _LONG_NUMBER.sub(r"\1", tag[0]), text)
    box = _ROOT.match(text)[1]
    root = (f'<svg viewBox="{box}" role="img" aria-labelledby="{name}-title {name}-description">\n'
            f'<title id="{name}-title">{escape(title)}</title>\n'
            f'<desc id="{name}-description">{escape(description)}</desc>')
    text = _ROOT.sub(lambda _: root, text, count=1)
    text = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return Figure(name, title, caption, text)
