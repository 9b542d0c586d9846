"""`report.html`: its numbers are the CSV's, it stands alone, it escapes what it shows, and says what is missing."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_run import SPEECH_ONLY, finish

from medusa_jax.evaluation import figures, page
from medusa_jax.pipeline.report import report

VOID = {"meta", "link", "br", "img", "path", "use", "rect", "line"}


class Reader(HTMLParser):
    """Checks that tags close in order; collects what the page would load, and its tables' cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tables: list[list[list[str]]] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.loads += [given[name] for name in ("src", "href") if tag in ("img", "script", "link", "audio", "iframe") and name in given]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open[-2:]):
            self.tables[-1][-1][-1] += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return finish(tmp_path_factory.mktemp("page"), **SPEECH_ONLY)[0]


@pytest.fixture(scope="module")
def written(prepared):
    return report(prepared)


@pytest.mark.slow
def test_the_numbers_are_the_csvs(prepared, written):
    scores = pd.read_csv(prepared.run.folder / "evaluation" / "test3" / "scores.csv").set_index("system")
    rows = read(written).tables[0][1:]
    assert [row[0] for row in rows] == list(scores.index)
    for name, _, macro_f1, bounds, micro_f1, accuracy, uar, ccc in rows:
        expected = scores.loc[name, ["macro_f1", "micro_f1", "accuracy", "uar", "ccc_mean"]]
        assert [macro_f1, micro_f1, accuracy, uar, ccc] == [f"{value:.3f}" for value in expected]
        assert bounds == f"{scores.loc[name, 'macro_f1_low']:.3f} to {scores.loc[name, 'macro_f1_high']:.3f}"


@pytest.mark.slow
def test_it_loads_nothing_from_elsewhere_and_no_name_stands_twice(written):
    reader = read(written)
    assert len(set(reader.ids)) == len(reader.ids)
    assert all(uri.startswith(("data:,", "file:///")) for uri in reader.loads)
    assert not re.search(r"https?://(?!www\.w3\.org)", written.read_text(encoding="utf-8"))
    assert "generated, synthetic speech" in written.read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_is_missing_is_said(prepared, tmp_path):
    folder = tmp_path / prepared.run.folder.name
    shutil.copytree(prepared.run.folder, folder)
    run = replace(prepared.run, out=tmp_path)
    (folder / "members" / "speech" / "metrics.jsonl").unlink()
    shutil.rmtree(folder / "ensemble" / "checkpoints")
    frame = prepared.corpus.frame.assign(arousal=np.nan, valence=np.nan, dominance=np.nan)
    rows = frame["split"].isin(["train", "development"])
    frame.loc[rows & (frame["consensus"] == "fear"), "consensus"] = "no_agreement"
    corpus = replace(prepared.corpus, frame=frame, root=tmp_path / "gone")
    page_text = report(replace(prepared, run=run, corpus=corpus)).read_text(encoding="utf-8")
    assert "No metrics of speech." in page_text
    assert "The meta-classifier cannot be shown" in page_text
    assert "No labelled example of fear" in page_text
    assert "no attribute ratings" in page_text
    assert "audio is not on this machine" in page_text
    read(folder / "report.html")


def test_names_are_escaped_everywhere():
    evil = '<script>"&'
    svg = figures.bars([figures.Bar(evil, 0.5, 0.4, 0.6)], evil, evil) + figures.curves([figures.Curve(evil, [1], [2])] * 2, "t", evil, evil)
    text = page.page(
        evil, "", [page.Section(evil, page.table(evil, [evil], [[evil]]) + page.heat_table(evil, evil, [evil], [evil], np.ones((1, 1))))]
    )
    assert "<script>" not in svg + text + page.facts([(evil, evil)]) + page.verbatim(evil) + page.player(evil, evil)


def test_figures_are_the_same_each_time_and_in_the_pages_ink():
    first, again = (figures.bars([figures.Bar("a", 0.5)], "title", "F1") for _ in range(2))
    assert first == again
    assert "currentColor" in first
    assert "#010203" not in first
    assert "<title>title</title>" in first


@pytest.mark.slow
def test_a_browser_shows_it_without_an_error(written, tmp_path):
    browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: install it to see the page rendered")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}", "--dump-dom"]
    shown = subprocess.run([browser, *flags, written.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout.count("<svg") == 4
    assert 'id="confusion"' in shown.stdout
    assert "CONSOLE" not in shown.stderr
