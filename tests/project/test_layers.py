"""Imports point one way only, in the order in which data flows, and every package that is imported is packaged."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = (
    "errors",
    "files",
    "progress",
    "config",
    "audio",
    "layers",
    "machines",
    "corpus",
    "synthetic",
    "store",
    "backbones",
    "torch_encoders",
    "transcription",
    "features",
    "models",
    "batches",
    "tasks",
    "evaluation",
    "training",
    "ensemble",
    "submission",
    "runs",
    "studies",
    "report",
    "inference",
    "cli",
)
FOR_SUBMISSION = {"submission", "errors", "files"}  # it can be used without the rest
SOURCES = sorted([*(ROOT / "medusa_jax").rglob("*.py"), *(ROOT / "submission").rglob("*.py")])


def layer_of(module: str) -> str:
    """`medusa_jax.corpus.table` → `corpus`; `submission.rows` → `submission`; "" for the package itself and what is not ours."""
    first, _, rest = module.partition(".")
    return (
        "submission"
        if first == "submission"
        else rest.split(".")[0]
        if first == "medusa_jax"
        else ""
    )


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and layer of every import of ours, also within functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from ((node.lineno, layer) for layer in map(layer_of, modules) if layer)


def allowed(layer: str) -> set[str]:
    """The layers that `layer` may import."""
    return FOR_SUBMISSION if layer == "submission" else set(ORDER[: ORDER.index(layer) + 1])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upward(path):
    layer = layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if layer == "__init__":
        assert not list(imports_of(path.read_text(encoding="utf-8")))
        return
    assert layer in ORDER, (
        f"{layer} has no place in the order: give it one here and in CONTRIBUTING.md"
    )
    wrong = [
        f"line {line}: {found}"
        for line, found in imports_of(path.read_text(encoding="utf-8"))
        if found not in allowed(layer)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "from medusa_jax.training.member import Member",
        "def late():\n    import medusa_jax.cli.app",
        "from medusa_jax import evaluation",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from submission.rows import check_rows",
    ],
)
def test_an_import_downward_is_seen(source):
    assert [layer for _, layer in imports_of(source) if layer not in allowed("models")]


def test_submission_stands_alone():
    assert "config" not in allowed("submission")
    assert "submission" in allowed("runs")
    assert "submission" not in allowed("evaluation")


def test_every_package_is_packaged():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert set(tool["packages"]) == folders | {"medusa_jax.configs"}
    assert tool["package-dir"] == {"medusa_jax.configs": "configs"}


def test_the_order_is_the_one_contributing_tells():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = [page.index(f"    {name}") for name in ORDER]
    assert places == sorted(places)
