"""The pieces of a report page: one HTML file that needs no network, light or dark, for any screen.

Every function returns HTML and escapes its arguments, except those called `html` or `…_html`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Cell = str | float | int | None
_LONG = 30  # characters; longer cells are wrapped

_STYLE = """
:root {
  color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #59636e; --line: #d5dae0;
  --shade: #f3f5f8; --heat: 0 114 178; --warn: #fff3d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e8ebef; --faint: #a3adb8; --line: #343a42;
    --shade: #1d2127; --heat: 86 180 233; --warn: #3d3216;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .3rem; }
h2 {
  font-size: 1.25rem; margin: 2.4rem 0 .5rem; border-top: 1px solid var(--line);
  padding-top: 1.2rem;
}
p { margin: .5rem 0; max-width: 48rem; } .faint { color: var(--faint); font-size: .9rem; }
.warn { background: var(--warn); padding: .7rem 1rem; border-radius: .4rem; }
.scroll { overflow-x: auto; }
.scroll:focus-visible, a:focus-visible, summary:focus-visible {
  outline: 2px solid rgb(var(--heat)); outline-offset: 2px;
}
table {
  border-collapse: separate; border-spacing: 0; font-size: .9rem; margin: .4rem 0;
  font-variant-numeric: tabular-nums;
}
caption, figcaption {
  text-align: left; color: var(--faint); font-size: .9rem; padding-bottom: .3rem;
}
caption span {
  position: sticky; left: 0; display: inline-block; max-width: min(48rem, calc(100vw - 2.2rem));
}
th, td {
  padding: 5px 10px; line-height: 22px; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap;
}
th:first-child, .text { text-align: left; } thead th { color: var(--faint); font-weight: 600; }
tbody th { position: sticky; left: 0; background: var(--paper); font-weight: 600; }
tr.best td, tr.best th { font-weight: 700; background: var(--shade); }
.heat td {
  background: rgb(var(--heat) / calc(var(--v) * .55)); text-align: center;
  border: 1px solid var(--paper);
}
.heat td.negative { background: rgb(213 94 0 / calc(var(--v) * .55)); }
figure { margin: .6rem 0 1rem; }
svg { display: block; width: 100%; max-width: 38rem; height: auto; }
td.words { white-space: normal; min-width: 16rem; }
audio { height: 2rem; width: 12rem; display: block; }
summary { cursor: pointer; margin: .4rem 0; }
nav ul {
  display: flex; flex-wrap: wrap; gap: .2rem 1rem; list-style: none; padding: 0; font-size: .92rem;
}
a { color: inherit; }
.key { font-size: 2.2rem; font-weight: 700; line-height: 1.1; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  th, td { padding: 4px 6px; }
  tbody th { white-space: normal; overflow-wrap: break-word; max-width: 10rem; }
  tbody th.words { min-width: 10rem; }
}
@media print { .scroll { overflow: visible; } details { display: block; } }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: its title, and its HTML."""

    title: str
    html: str

    @property
    def anchor(self) -> str:
        """The id that links point to."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def page(title: str, lead_html: str, sections: Sequence[Section]) -> str:
    """The whole file: title, the most important results, contents, sections."""
    links = "".join(f'<li><a href="#{s.anchor}">{escape(s.title)}</a></li>' for s in sections)
    body = "".join(
        f'<section aria-labelledby="{s.anchor}"><h2 id="{s.anchor}">{escape(s.title)}</h2>'
        f"{s.html}</section>"
        for s in sections
    )
    head = '<meta charset="utf-8">'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title>"
    head += '<link rel="icon" href="data:,">'  # else browsers request one
    head += f"<style>{_STYLE}</style>"
    top = f'<h1>{escape(title)}</h1>{lead_html}<nav aria-label="Contents"><ul>{links}</ul></nav>'
    main = f"<body><main>{top}{body}</main></body>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{main}</html>\n'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is `faint`, `warn` or empty. Text between backticks is set as code."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return f'<p class="{kind}">{html}</p>' if kind else f"<p>{html}</p>"


def table(
    caption: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    best: int | None = None,
    players: Sequence[str | None] | None = None,
) -> str:
    """A table that scrolls by itself on a narrow screen; the row `best` stands out.

    `players`, HTML or None for each row, stand in a column of their own.
    """
    kinds = [_kind([row[i] for row in rows]) for i in range(len(headers))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(h)}</th>' for h, kind in zip(headers, kinds, strict=True)
    )
    head += '<th scope="col" class="text">audio</th>' if players else ""
    lines = []
    for i, row in enumerate(rows):
        mark = ' class="best"' if i == best else ""
        play = f"<td>{players[i] or '–'}</td>" if players else ""
        lines.append(f"<tr{mark}>{_line(row, kinds)}{play}</tr>")
    return _tabular(caption, "", head, lines)


def _line(row: Sequence[Cell], kinds: Sequence[str]) -> str:
    """The cells of a row, the first one its header."""
    name_kind = ' class="words"' if "words" in kinds[0] else ""
    cells = "".join(
        f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True)
    )
    return f'<th scope="row"{name_kind}>{_breakable(row[0])}</th>{cells}'


def _tabular(caption: str, kind: str, head_html: str, lines_html: Sequence[str]) -> str:
    head = f"{_caption(caption)}<thead><tr>{head_html}</tr></thead>"
    return _scrolling(caption, f"<table{kind}>{head}<tbody>{''.join(lines_html)}</tbody></table>")


def heat_table(
    caption: str,
    corner: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    form: str = "{:z.2f}",
) -> str:
    """A matrix `[row, column]` of numbers, tinted by size; negative ones have another hue."""
    largest = max(float(np.abs(values).max(initial=0)), 1e-12)

    def cell(value: float) -> str:
        kind = " class=negative" if value < 0 else ""
        tint = f'style="--v:{abs(value) / largest:.3f}"'
        return f"<td{kind} {tint}>{escape(form.format(value))}</td>"

    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in (corner, *columns))
    lines = [
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(cell, row))}</tr>'
        for name, row in zip(rows, values.tolist(), strict=True)
    ]
    return _tabular(caption, ' class="heat"', head, lines)


def figure(svg_html: str, caption: str) -> str:
    """A drawing of `figures` under its caption."""
    drawn = _scrolling(caption, svg_html)
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawn}</figure>"


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Names and values, one a line."""
    lines = [f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs]
    return f"<dl>{''.join(lines)}</dl>"


def folded(title: str, html: str) -> str:
    """Details that are hidden until the title is clicked."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def verbatim(text: str) -> str:
    """Text as it is, line by line."""
    return f'<div class="scroll" tabindex="0"><pre>{escape(text)}</pre></div>'


def player(name: str, uri: str) -> str:
    """A player of an audio file, which is loaded only when it is played."""
    return (
        f'<audio controls preload="none" aria-label="{escape(name)}" src="{escape(uri)}"></audio>'
    )


def _scrolling(name: str, html: str) -> str:
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{html}</div>'
    )


def _caption(text: str) -> str:
    return f"<caption><span>{escape(text)}</span></caption>"


def _kind(column: Sequence[Cell]) -> str:
    """The class of a column: numbers stand right, words left, sentences are wrapped."""
    words = [cell for cell in column if isinstance(cell, str) and cell[:1].isalpha()]
    wrapped = " words" if any(len(word) > _LONG for word in words) else ""
    return f' class="text{wrapped}"' if words else ""


def _breakable(name: Cell) -> str:
    """A name that may break at its underscores."""
    return _text(name).replace("_", "_<wbr>")


def _text(value: Cell) -> str:
    if value is None:
        return "–"
    return escape(f"{value:z.3f}" if isinstance(value, float) else str(value))
