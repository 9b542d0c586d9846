"""The program asks for large pages once, where one has to ask, and nothing else changes."""

import subprocess
import sys

import pytest

from medusa_jax.cli.start import PAGES, TUNABLES, large_pages
from medusa_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("setting", "before", "after"),
    [
        ("always [madvise] never", {"A": "1"}, {"A": "1", TUNABLES: "glibc.malloc.hugetlb=1"}),
        ("[always] madvise never", {"A": "1"}, {"A": "1"}),
        ("always madvise [never]", {}, {}),
        (
            "always [madvise] never",
            {TUNABLES: "glibc.malloc.check=1"},
            {TUNABLES: "glibc.malloc.check=1"},
        ),
        (None, {"A": "1"}, {"A": "1"}),
    ],
)
def test_large_pages(tmp_path, setting, before, after):
    if setting is not None:
        (tmp_path / "enabled").write_text(setting + "\n")
    assert large_pages(before, tmp_path / "enabled") == after


def test_the_program_starts_once_more_with_its_arguments(tmp_path):
    """Like the installed script: arguments, exit code and output are those of `medusa`."""
    (tmp_path / "medusa").write_text(
        "import sys\nfrom medusa_jax.cli.start import main\nsys.exit(main())\n"
    )
    program = [sys.executable, str(tmp_path / "medusa"), "train", "a file"]
    done = subprocess.run(
        program, capture_output=True, text=True, env={"PATH": "", "COLUMNS": "200"}
    )
    assert done.returncode == ConfigError.exit_code
    assert "a file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(
    not PAGES.exists() or "[madvise]" not in PAGES.read_text(),
    reason="large pages need not be asked for here",
)
def test_the_c_library_is_reported(tmp_path):
    code = """
import os
from medusa_jax.cli import app, start
app.main = lambda: print(os.environ[start.TUNABLES])
start.main()
"""
    (tmp_path / "medusa").write_text(code)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "medusa")], capture_output=True, text=True, env={}
    )
    assert done.stdout == "glibc.malloc.hugetlb=1\n", done.stderr
