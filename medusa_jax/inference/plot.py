"""Probabilities of one recording as a picture: lines over time, or bars of a single result."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medusa_jax.errors import ConfigError, DependencyError
from medusa_jax.inference.result import Result
from medusa_jax.report.figures import COLOURS

SUFFIXES = (".png", ".svg")
_SHOWN = 5
"""Classes that have a colour of their own in a plot over time: the most probable on average."""


def check_picture(path: Path) -> None:
    """Raise `ConfigError` for another suffix, `DependencyError` without matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"no picture format {path.suffix!r}", where=path, hint="name it .png or .svg"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise DependencyError(
            "matplotlib is not installed", hint="pip install 'medusa-jax[report]'"
        )


def plot(results: Sequence[Result], path: Path) -> None:
    """Draw the results of one recording to a PNG or SVG file.

    Raises as `check_picture`, and `ConfigError` without a prediction.
    """
    check_picture(path)
    known = [one for one in results if one.label is not None]
    if not known:
        raise ConfigError("nothing was predicted, so there is nothing to draw", where=path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots()
    axes.set_title(Path(known[0].file).name, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    (_lines if len(known) > 1 else _bars)(axes, known)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _lines(axes: Any, results: Sequence[Result]) -> None:
    middles = [(one.start + one.end) / 2 for one in results]
    classes = list(results[0].probabilities)
    mean = {name: sum(one.probabilities[name] for one in results) for name in classes}
    ranked = sorted(classes, key=lambda name: -mean[name])
    for place, name in enumerate(ranked):
        shown = place < _SHOWN
        style: dict[str, Any] = {"color": COLOURS[place], "label": name, "lw": 1.8}
        if not shown:
            style = {"color": "#bbbbbb", "lw": 0.8, "label": "others" if place == _SHOWN else None}
        axes.plot(middles, [one.probabilities[name] for one in results], **style)
    axes.set_ylim(0, 1)
    axes.set_xlim(results[0].start, results[-1].end)
    axes.set_xlabel("seconds")
    axes.set_ylabel("probability")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)


def _bars(axes: Any, results: Sequence[Result]) -> None:
    pairs = sorted(results[0].probabilities.items(), key=lambda pair: pair[1])
    bars = axes.barh([name for name, _ in pairs], [value for _, value in pairs], color=COLOURS[0])
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability")
