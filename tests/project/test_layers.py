"""Imports follow the order of folders in CONTRIBUTING.md, without circles, and stay in bounds."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark_scripts import benchmark

tree = benchmark("source_tree")
ROOT = Path(__file__).parents[2]
ORDER = tree.folder_order((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
SOURCES = tree.read_sources(ROOT, tree.PACKAGES)
MODULES = [source.module for source in SOURCES]

NEVER = {
    "models": ("medusa_jax.training",),
    "layers": ("medusa_jax.training",),
    "backbones": ("medusa_jax.training",),
    "training": ("medusa_jax.models.deepser",),
    "evaluation": ("medusa_jax.runs",),
    "inference": ("medusa_jax.training.loop", "medusa_jax.studies"),
    "machines": ("medusa_jax.batches",),
}
"""By folder: modules that it never imports, nor anything below them."""

TORCH_FOLDER, TORCH_MODULE = "torch_encoders", "medusa_jax.transcription.whisper"
"""The folder and the module that may import PyTorch."""


def forbidden_imports(source, modules) -> list[str]:
    """`LINE: MODULE` of each import that `NEVER` forbids to the source's folder."""
    return [
        f"{line}: {module}"
        for line, module in tree.imports_of(source, modules)
        for never in NEVER.get(source.folder, ())
        if f"{module}.".startswith(f"{never}.")
    ]


def packages_in(source) -> Iterator[str]:
    """The top-level package of every import."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.path}:{node.lineno}: imports are absolute"
            yield (node.module or "").partition(".")[0]


def may_import_torch(source) -> bool:
    return source.folder == TORCH_FOLDER or source.module == TORCH_MODULE


def test_every_folder_has_its_place_in_the_order():
    assert {source.folder for source in SOURCES if source.folder} <= set(ORDER)


def test_imports_point_upward():
    assert tree.upward_imports(SOURCES, ORDER) == []


def test_no_module_imports_itself_through_others():
    assert tree.circles(tree.import_graph(SOURCES)) == []


@pytest.mark.parametrize("folder", NEVER)
def test_forbidden_modules_are_not_imported(folder):
    sources = [source for source in SOURCES if source.folder == folder]
    found = {source.module: forbidden_imports(source, MODULES) for source in sources}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_torch_stays_in_its_folders():
    sources = [source for source in SOURCES if not may_import_torch(source)]
    assert [source.module for source in sources if "torch" in packages_in(source)] == []
    assert any("torch" in packages_in(source) for source in SOURCES), "and is found at all"


def test_the_package_itself_imports_none_of_its_modules():
    (package,) = (source for source in SOURCES if source.module == "medusa_jax")
    assert list(tree.imports_of(package, MODULES)) == []


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        ("models", "from medusa_jax.training.step import train_step"),
        ("training", "def late():\n    from medusa_jax.models import deepser"),
        ("evaluation", "import medusa_jax.runs.run"),
        ("inference", "from medusa_jax.training.loop import train_group"),
    ],
)
def test_a_forbidden_import_is_found(folder, text):
    modules = [
        "medusa_jax.training.step",
        "medusa_jax.training.loop",
        "medusa_jax.models.deepser",
        "medusa_jax.runs.run",
    ]
    source = tree.source_of(Path(f"medusa_jax/{folder}/thing.py"), text)
    assert len(forbidden_imports(source, modules)) == 1


def test_a_late_import_of_torch_is_found():
    text = "def late():\n    from torch.nn import functional"
    source = tree.source_of(Path("medusa_jax/models/thing.py"), text)
    assert "torch" in packages_in(source)
    assert not may_import_torch(source)


def test_submission_stands_alone():
    modules = ("medusa_jax.config.run", "submission.rows")
    for name, wanted in zip(modules, (1, 0), strict=True):
        sources = [tree.source_of(Path("submission/thing.py"), f"import {name}")]
        sources += [tree.source_of(Path(*one.split(".")).with_suffix(".py"), "") for one in modules]
        assert len(tree.upward_imports(sources, ORDER)) == wanted


def test_every_package_is_packaged():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tool = pyproject["tool"]["setuptools"]
    folders = {".".join(source.path.parent.parts) for source in SOURCES}
    assert set(tool["packages"]) == folders | {"medusa_jax.configs"}
    assert tool["package-dir"] == {"medusa_jax.configs": "configs"}
