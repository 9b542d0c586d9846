"""A report page in a test: its tables, the files that it loads, and its tags."""

import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "link", "br", "wbr", "img", "path", "use", "rect", "line"}


class Reader(HTMLParser):
    """Checks that tags close in order; collects URIs to load, tables by caption, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.said = ""
        self.captions: list[str] = []
        self.rows: list[list[list[str]]] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.loads += [
            given[name]
            for name in ("src", "href")
            if tag in ("img", "script", "link", "audio", "iframe") and name in given
        ]
        if tag == "table":
            self.rows.append([])
        if tag == "caption":
            self.captions.append("")
        if tag == "tr":
            self.rows[-1].append([])
        if tag in ("td", "th"):
            self.rows[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data
        if {"td", "th"} & set(self.open[-2:]):
            self.rows[-1][-1][-1] += data
        if "caption" in self.open[-2:]:
            self.captions[-1] += data

    def table(self, caption: str) -> list[list[str]]:
        """The rows, without the head, of the only table whose caption begins so."""
        (found,) = (
            rows
            for said, rows in zip(self.captions, self.rows, strict=True)
            if said.startswith(caption)
        )
        return found[1:]


def read_page(path: Path) -> Reader:
    """The page at `path`, its tags checked."""
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def browser() -> str:
    """Chromium, or a skip that says so."""
    found = next(
        (
            path
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (path := shutil.which(name))
        ),
        None,
    )
    if found is None:
        pytest.skip("no Chromium on this machine: install it to see the page rendered")
    return found
