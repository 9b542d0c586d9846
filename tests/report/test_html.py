"""The pieces of `report.html`, and the page in a browser: wide and narrow, light and dark."""

import html
import json
import re
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from page_reader import browser, read_page
from scored_run import scored_run

from medusa_jax.report import figures
from medusa_jax.report import html as page
from medusa_jax.report.report import report

# Runs in the page and tells the frame around it what a reader sees.
PROBE = """<script>
const all = selector => [...document.querySelectorAll(selector)];
const box = e => e.getBoundingClientRect();
onload = () => parent.postMessage({
  width: innerWidth,
  needed: document.documentElement.scrollWidth,
  headings: all('h1, h2').filter(e => box(e).height > 0).map(e => e.textContent),
  drawings: all('svg').map(box).map(r => [Math.round(r.width), Math.round(r.height)]),
  letters: Math.min(...all('svg text').map(e => box(e).height).filter(h => h)),
  loose: all('main table').filter(e => !e.closest('.scroll[tabindex][aria-label]')).length,
  nameless: all('svg, audio').filter(e => !e.getAttribute('aria-label')).length,
  dead: all('nav a').filter(e => !document.querySelector(e.getAttribute('href'))).length,
  paper: getComputedStyle(document.body).backgroundColor,
}, '*')
</script>"""
FRAME = """<!doctype html><iframe src="page.html" width="%d" height="900"></iframe><pre></pre>
<script>
onmessage = e => document.querySelector('pre').textContent = JSON.stringify(e.data)
</script>"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return report(scored_run(tmp_path_factory.mktemp("page"))).page


def opened(folder, uri: str, *flags: str) -> subprocess.CompletedProcess:
    """What Chromium makes of a page, and what it logs."""
    given = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder}",
        "--virtual-time-budget=3000",
    ]
    return subprocess.run(
        [browser(), *given, *flags, "--dump-dom", uri],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_shows_it_whole_on_a_desk_and_on_a_phone(written, tmp_path, width, theme):
    (tmp_path / "page.html").write_text(
        written.read_text(encoding="utf-8") + PROBE, encoding="utf-8"
    )
    (tmp_path / "frame.html").write_text(FRAME % width, encoding="utf-8")
    flags = [
        f"--window-size={width + 40},1000",
        *(["--force-dark-mode"] if theme == "dark" else []),
    ]
    done = opened(tmp_path, (tmp_path / "frame.html").as_uri(), *flags)
    seen = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.S).group(1)))
    assert "CONSOLE" not in done.stderr
    assert abs(seen["width"] - width) < 20  # less a scroll bar
    assert seen["needed"] <= seen["width"], "the page itself never scrolls sideways"
    assert seen["headings"][0] == "scored: speech emotion recognition on ravdess"
    assert {
        "Members and ensembles",
        "Confusion",
        "Confident and wrong",
        "Where the numbers come from",
    } <= set(seen["headings"])
    assert len(seen["drawings"]) == 4
    assert all(300 < wide <= seen["width"] and tall > 80 for wide, tall in seen["drawings"])
    assert seen["letters"] >= 8
    assert (seen["loose"], seen["nameless"], seen["dead"]) == (0, 0, 0)
    assert (int(seen["paper"].split("(")[1].split(",")[0]) < 64) is (theme == "dark")


@pytest.mark.slow
def test_an_error_in_a_page_would_be_seen(tmp_path):
    (tmp_path / "bad.html").write_text(
        "<!doctype html><script>nothing()</script>", encoding="utf-8"
    )
    assert "CONSOLE" in opened(tmp_path, (tmp_path / "bad.html").as_uri()).stderr


@pytest.mark.slow
def test_the_page_itself_runs_no_script_and_logs_nothing(written, tmp_path):
    done = opened(tmp_path, written.as_uri())
    assert done.stdout.count("<svg") == 4
    assert "<script" not in done.stdout
    assert "CONSOLE" not in done.stderr


@pytest.mark.parametrize(
    ("scheme", "names"), [("light", ("ink", "faint")), ("dark", ("ink", "faint"))]
)
def test_text_has_contrast(written, scheme, names):
    themes = re.findall(r":root \{(.*?)\}", written.read_text(encoding="utf-8"), re.S)
    colours = dict(re.findall(r"--(\w+): (#\w+)", themes[scheme == "dark"]))
    for behind in ("paper", "shade", "warn"):
        assert all(contrast(colours[name], colours[behind]) >= 4.5 for name in names)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours like `#1b1f24` or `#fff`."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
        parts = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
            @ [0.2126, 0.7152, 0.0722]
        )

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_headings_go_down_one_step_at_a_time(written):
    levels = [int(level) for level in re.findall(r"<h([1-6])", written.read_text(encoding="utf-8"))]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    read_page(written)


def test_names_are_escaped_everywhere():
    evil = '<script>"&'
    bar = figures.Bar(evil, 0.5, 0.4, 0.6)
    svg = (
        figures.bars([bar], evil, evil)
        + figures.curves([figures.Curve(evil, [1], [2])] * 2, "t", evil, evil)
        + figures.differences([bar], evil, evil)
    )
    text = page.page(
        evil,
        "",
        [
            page.Section(
                evil,
                page.table(evil, [evil], [[evil]])
                + page.heat_table(evil, evil, [evil], [evil], np.ones((1, 1))),
            )
        ],
    )
    pieces = (
        page.facts([(evil, evil)])
        + page.verbatim(evil)
        + page.player(evil, evil)
        + page.figure("", evil)
        + page.folded(evil, "")
    )
    assert "<script>" not in svg + text + pieces


def test_figures_are_the_same_each_time_and_in_the_pages_ink():
    first, again = (figures.bars([figures.Bar("a", 0.5)], "title", "F1") for _ in range(2))
    assert first == again
    assert "currentColor" in first
    assert "#010203" not in first
    assert "<title>title</title>" in first


def test_numbers_stand_right_and_words_left():
    rows = [
        ["a", 0.5, "0.4 to 0.6", "yes", "a sentence that is much too long for a line"],
        ["b", -0.0004, None, None, "1 word"],
    ]
    html_text = page.table("t", ["name", "number", "interval", "word", "sentence"], rows)
    assert (
        '<td>0.500</td><td>0.4 to 0.6</td><td class="text">yes</td>'
        '<td class="text words">a sentence' in html_text
    )
    assert (
        '<td>0.000</td><td>–</td><td class="text">–</td><td class="text words">1 word</td>'
        in html_text
    )
