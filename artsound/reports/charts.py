"""Charts as SVG text with the colours of the page, for light and dark mode.

Matplotlib draws with placeholder colours; each is replaced by a CSS variable of the page. Equal
data give equal bytes. Charts are as wide as a phone, so that their text has the same size there as
on a desktop, where several are side by side; heat maps have a fixed size and are scrolled.

Bars, cells and their names may be links. Those of names can be reached with the keyboard.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# Placeholder drawn by matplotlib -> CSS variable of the page.
_INK, _LINE, _MAIN, _SECOND = "#010203", "#040506", "#070809", "#0a0b0c"
_VARIABLES = {
    _INK: "var(--ink)",
    _LINE: "var(--line)",
    _MAIN: "var(--main)",
    _SECOND: "var(--second)",
}
WIDTH = 4.2  # inches: 302 CSS pixels at the size drawn, about what a phone leaves inside a card
_GROWTH = 1.3  # the largest enlargement in a wider card
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "artsound",
    "font.family": "sans-serif",
    "font.size": 11.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


Link = Callable[[str], str]  # from a value to an address; "" for none


def _no_link(*_: object) -> str:
    return ""


def bars(counts: Mapping[str, float], *, alt: str, most: int = 15, link: Link = _no_link) -> str:
    """Horizontal bars, the `most` largest first; the rest are summed as `others`.

    `link` gives the address that a value leads to.
    """
    items = list(counts.items())
    if len(items) > most:
        items = [*items[: most - 1], ("others", sum(value for _, value in items[most - 1 :]))]
    rows = max(len(items), 3)  # so that one or two bars are no thicker than many
    with _axes(WIDTH, 0.5 + 0.3 * rows, alt) as (axes, svg):
        places = np.arange(len(items))
        values = [value for _, value in items]
        # What is summed leads nowhere, unlike a value of the same name.
        links = [link(name) if name in counts else "" for name, _ in items]
        _linked(axes.barh(places, values, height=0.7, color=_MAIN), links)
        axes.set_yticks(places, [shorten(name) for name, _ in items])
        _linked(axes.get_yticklabels(), links)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.25)  # space for the number beside the longest bar
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{value:,.0f}", (value, place), xytext=(4, 0), textcoords="offset points",
                va="center",
            )  # fmt: skip
    return svg.getvalue()


def two_bars(
    shares: Mapping[str, tuple[float, float]],
    *,
    names: tuple[str, str],
    alt: str,
    most: int = 15,
    link: Link = _no_link,
) -> str:
    """Two horizontal bars for each of the first `most` values: its two shares, 0–1.

    `link` gives the address that a value leads to, if its second share is not zero.
    """
    items = list(shares.items())[:most]
    with _axes(WIDTH, 0.8 + 0.36 * max(len(items), 1), alt) as (axes, svg):
        places = np.arange(len(items), dtype=float)
        links = [link(name) if second else "" for name, (_, second) in items]
        for side, (colour, shift) in enumerate(((_SECOND, -0.2), (_MAIN, 0.2))):
            values = [100 * pair[side] for _, pair in items]
            drawn = axes.barh(places + shift, values, height=0.36, color=colour, label=names[side])
            _linked(drawn, links)
        axes.set_yticks(places, [shorten(name) for name, _ in items])
        _linked(axes.get_yticklabels(), links)
        axes.invert_yaxis()
        axes.set_xlabel("per cent")
        _legend(axes)
    return svg.getvalue()


def histogram_chart(
    values: Sequence[float] | np.ndarray,
    *,
    label: str,
    alt: str,
    most: int = 40,
    link: Callable[[float, float, bool], str] = _no_link,
) -> str:
    """A histogram of values in at most so many bars, as wide as Freedman and Diaconis advise.

    `link` gives the address that a bar leads to, from its two ends, and whether it is the last,
    which includes its upper end.
    """
    bins = min(most, max(4, len(np.histogram_bin_edges(values, "auto")) - 1))
    with _axes(WIDTH, 2.6, alt) as (axes, svg):
        counts, edges, drawn = axes.hist(values, bins=bins, color=_MAIN)
        ends = list(pairwise(edges.tolist()))
        _linked(drawn, [
            link(low, high, n == len(ends) - 1) if count else ""
            for n, (count, (low, high)) in enumerate(zip(counts, ends, strict=True))
        ])  # fmt: skip
        axes.set_xlabel(label)
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", nbins=3, integer=True)
    return svg.getvalue()


def two_histograms(
    edges: Sequence[float],
    main: Sequence[float],
    second: Sequence[float],
    *,
    names: tuple[str, str],
    label: str,
    alt: str,
) -> str:
    """Two distributions over the same bins, as shares of their own totals."""
    with _axes(WIDTH, 3.0, alt) as (axes, svg):
        for counts, colour, name, filled in (
            (second, _SECOND, names[1], False),
            (main, _MAIN, names[0], True),
        ):
            shares = np.asarray(counts, dtype=float) / max(float(np.sum(counts)), 1.0)
            axes.stairs(shares, edges, fill=filled, color=colour, label=name, linewidth=2)
        _legend(axes)
        _quiet(axes, label)
    return svg.getvalue()


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    *,
    alt: str,
    form: str = ",.0f",
    tints: np.ndarray | None = None,
    link: Callable[[str, str], str] = _no_link,
) -> str:
    """Values [rows, columns] as tinted cells, each with its number in `form`; none where NaN.

    `tints` [rows, columns] are what the cells are tinted by, from their least to their largest;
    without, the values from 0. `link` gives the address that the cell of a row and a column leads
    to, and that of a row or a column with "" for the other. As wide as its columns need: the page
    lets it be scrolled.
    """
    width = 2.2 + 0.62 * len(columns)
    with _axes(width, 1.3 + 0.32 * len(rows), alt, shrinks=False) as (axes, svg):
        shades = values if tints is None else tints
        known = shades[np.isfinite(values)]
        peak = known.max() if known.size else 0.0
        least = (
            known.min() if tints is not None and known.size else min(known.min(initial=0.0), 0.0)
        )
        for row, column in np.argwhere(np.isfinite(values)).tolist():
            value = values[row, column]
            # Tint by opacity, so that the cell fits any background colour.
            shade = (shades[row, column] - least) / max(peak - least, 1e-9)
            opacity = 0.05 + 0.75 * shade**0.6
            cell = _cell(column, row, opacity)
            axes.add_patch(cell)
            _linked([cell], [link(rows[row], columns[column])])
            axes.text(column, row, f"{value:{form}}", ha="center", va="center", fontsize=11)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), [shorten(c) for c in columns], rotation=40, ha="left")
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(rows)), [shorten(row) for row in rows])
        _linked(axes.get_xticklabels(), [link("", column) for column in columns])
        _linked(axes.get_yticklabels(), [link(row, "") for row in rows])
        for spine in axes.spines.values():
            spine.set_visible(False)
    return svg.getvalue()


def _linked(drawn: Iterable[Artist], links: Sequence[str]) -> None:
    """Make links of shapes or texts."""
    for one, address in zip(drawn, links, strict=True):
        if address:
            one.set_url(address)


def shorten(text: str, length: int = 22) -> str:
    """`text`, cut with an ellipsis when it is longer than `length`."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _cell(column: int, row: int, opacity: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=_MAIN, alpha=opacity, lw=0)


def _legend(axes: Axes) -> None:
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0,
        handlelength=1, columnspacing=1,
    )  # fmt: skip


def _quiet(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


@contextmanager
def _axes(
    width: float, height: float, alt: str, *, shrinks: bool = True
) -> Iterator[tuple[Axes, io.StringIO]]:
    """Axes to draw on; when the block ends, the SVG is in the buffer. Sizes in inches.

    An SVG that `shrinks` is as wide as its card, up to _GROWTH; others have a fixed size.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure.add_subplot(), buffer
        raw = io.StringIO()
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None})
    svg = raw.getvalue()
    svg = svg[svg.index("<svg") :]
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    # A unit of the view box is a CSS pixel at the size drawn, and keeps the proportions.
    size = 72 * width
    style = f"max-width:{_GROWTH * size:.0f}px" if shrinks else f"width:{size:.0f}px"
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 style="{style}"', svg, count=1)
    # Shapes are links for the mouse alone, since the name beside them leads to the same place.
    svg = re.sub(r'<a xlink:(href="[^"]*") target="_blank">', r"<a \1>", svg)
    svg = re.sub(r"<a (?=[^>]*>\s*<path)", '<a tabindex="-1" aria-hidden="true" ', svg)
    role = "group" if "<a " in svg else "img"  # the parts of an image are hidden from readers
    label = f'<svg role="{role}" aria-label="{escape(alt, quote=True)}" '
    buffer.write(svg.replace("<svg ", label, 1))
