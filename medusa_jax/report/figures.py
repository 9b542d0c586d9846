"""Figures as SVG text for a page, drawn by matplotlib in the page's own ink for light and dark.

Every figure has a title and a description for screen readers; text stays text.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from medusa_jax.errors import DependencyError
from medusa_jax.evaluation.tables import Row

# Replaced by the page's ink at the end: matplotlib has no `currentColor`.
_INK = "#010203"
_WIDTH = 4.8  # inches: letters stay readable on a phone
# Readable on white and near-black (contrast of at least 3:1) and safe for colour blindness
# (after Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#00966b", "#b8578f", "#8a7500", "#5f7fd6", "#a5603a", "#7d7d7d")


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value, and the interval around it, or None."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, name: str, row: Row, column: str) -> "Bar":
        """The bar of a row's `column`, with the interval of `column_low` and `column_high`."""
        low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
        bounds = (None, None) if low is None or high is None else (float(low), float(high))
        return cls(name, float(row[column] or 0), *bounds)


@dataclass(frozen=True)
class Curve:
    """One line: its name and its points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def bars(rows: Sequence[Bar], title: str, label: str) -> str:
    """Horizontal bars from 0 to at most 1, the first on top, with intervals as whiskers."""
    described = f"{label}: " + ", ".join(f"{row.name} {row.value:.3f}" for row in rows)
    with _drawing(title, described, 0.25 * len(rows) + 0.6) as (axes, done):
        places, values = range(len(rows)), [row.value for row in rows]
        whiskers = {"ecolor": _INK, "lw": 1.2, "capsize": 3}
        axes.barh(
            places, values, color=COLOURS[0], height=0.62, xerr=_spread(rows), error_kw=whiskers
        )
        axes.set_yticks(places, [row.name for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, min(1.0, 1.08 * max([_high(row) for row in rows] + [0.05])))
        axes.set_xlabel(label)
        axes.grid(axis="x", alpha=0.2)
    return done[0]


def curves(
    lines: Sequence[Curve],
    title: str,
    x_label: str,
    y_label: str,
    marks: Mapping[str, float] | None = None,
) -> str:
    """Lines with their names at the side; `marks` are dashed verticals, named."""
    ends = ", ".join(f"{line.name} ends at {line.y[-1]:.3f}" for line in lines if len(line.y))
    described = f"{y_label} against {x_label}: {ends}"
    with _drawing(title, described, 2.3 + _legend_height(len(lines))) as (axes, done):
        for k, line in enumerate(lines):
            style, colour = ("-", "--", ":", "-.")[k // len(COLOURS) % 4], COLOURS[k % len(COLOURS)]
            point = "o" if len(line.x) < 2 else None
            axes.plot(
                line.x, line.y, style, color=colour, label=line.name, lw=1.6, marker=point, ms=4
            )
        for name, x in (marks or {}).items():
            _mark(axes, name, x)
        whole = all(float(x).is_integer() for line in lines for x in line.x)
        axes.locator_params(axis="x", integer=whole)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(alpha=0.2)
        if len(lines) > 1:
            _legend(axes)
    return done[0]


def differences(rows: Sequence[Bar], title: str, label: str) -> str:
    """Points on either side of a line at 0, the first on top, with intervals as whiskers."""
    described = f"{label}: " + ", ".join(f"{row.name} {row.value:+.3f}" for row in rows)
    with _drawing(title, described, 0.22 * len(rows) + 0.6) as (axes, done):
        places, values = range(len(rows)), [row.value for row in rows]
        look: Any = {"fmt": "o", "color": COLOURS[0], "ecolor": _INK, "ms": 5}
        axes.axvline(0, color=_INK, ls="--", lw=0.8, alpha=0.6)
        axes.errorbar(values, places, xerr=_spread(rows), elinewidth=1.2, capsize=3, **look)
        axes.set_yticks(places, [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(label)
        axes.grid(axis="x", alpha=0.2)
    return done[0]


def reliability(measured: Sequence[Row], bins: Sequence[Row], title: str) -> str:
    """Share of right first choices against their mean confidence, a line a system.

    `measured` and `bins` are the tables `calibration` and `reliability` of `evaluation.details`.
    """
    described = ", ".join(
        f"{row['system']} has an expected calibration error of {row['ece']:.3f}" for row in measured
    )
    with _drawing(title, described, 3.4 + _legend_height(len(measured) + 1)) as (axes, done):
        axes.plot([0, 1], [0, 1], color=_INK, ls="--", lw=0.8, alpha=0.6, label="calibrated")
        for k, row in enumerate(measured):
            own = [one for one in bins if one["system"] == row["system"]]
            x, y = [one["confidence"] for one in own], [one["accuracy"] for one in own]
            label = f"{row['system']} (ECE {row['ece']:.3f})"
            axes.plot(x, y, "o-", color=COLOURS[k], ms=4, lw=1.4, label=label)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("mean confidence of the first choice")
        axes.set_ylabel("share that is right")
        axes.grid(alpha=0.2)
        _legend(axes)
    return done[0]


_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(_INKED, _INK),
}
_ACROSS = 3  # names side by side in a legend


def _legend(axes: Any) -> None:
    """The names of the lines below the drawing, so that they fit on a narrow screen."""
    axes.figure.legend(loc="outside lower center", ncols=_ACROSS, frameon=False, fontsize=8)


def _legend_height(names: int) -> float:
    """Height of a legend in inches."""
    return 0.19 * -(-names // _ACROSS) + 0.1


def _high(row: Bar) -> float:
    return row.value if row.high is None else row.high


def _spread(rows: Sequence[Bar]) -> list[list[float]]:
    """Distances to the low and to the high end of each interval; 0 without one."""
    below = [row.value - (row.value if row.low is None else row.low) for row in rows]
    return [below, [_high(row) - row.value for row in rows]]


def _mark(axes: Any, name: str, x: float) -> None:
    """A dashed vertical with its name."""
    axes.axvline(x, color=_INK, ls="--", lw=0.8, alpha=0.6)
    place: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    axes.annotate(name, (x, 1), xytext=(3, -10), fontsize=8, **place)


@contextmanager
def _drawing(title: str, description: str, height: float) -> Iterator[tuple[Any, list[str]]]:
    """Axes to draw on; afterwards the list holds the SVG.

    Raises `DependencyError` without matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError(
            "matplotlib is not installed", hint="pip install 'medusa-jax[report]'"
        ) from error
    done: list[str] = []
    with rc_context(_LOOK | {"svg.hashsalt": title}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.subplots(), done
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    done.append(_inline(file.getvalue(), title, description))


def _inline(svg: str, title: str, description: str) -> str:
    """The bare `<svg>` element, in the page's ink and width, with its title and description."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    # Definitions need names that are unique in the page, or a figure uses another's clip path.
    tag = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{tag}-", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*pt"', "", head)
    named = f'role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    return f"{head} {named}<desc>{escape(description)}</desc>{rest}"
