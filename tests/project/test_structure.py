"""benchmarks/structure.py: its measures on small sources with known answers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmark_scripts import benchmark

source_tree = benchmark("source_tree")
call_chain = benchmark("call_chain")
way = benchmark("utterance_way")
ROOT = Path(__file__).parents[2]
ORDER = ["errors", "files", "config", "corpus", "training", "submission", "cli"]


def sources(**texts):
    """Sources by module name, `__` for a dot: `corpus__table` is medusa_jax/corpus/table.py."""
    found = []
    for name, text in texts.items():
        path = Path("medusa_jax", *name.split("__")).with_suffix(".py")
        found.append(source_tree.source_of(path, text))
    return found


def test_circles_are_found_through_late_imports_and_reported_once():
    tree = sources(
        corpus__table="from medusa_jax.corpus import labels",
        corpus__labels="def late():\n    from medusa_jax.corpus.check import f",
        corpus__check="import medusa_jax.corpus.table",
        corpus__alone="from medusa_jax.corpus.table import Corpus",
    )
    circles = source_tree.circles(source_tree.import_graph(tree))
    wanted = ["check", "labels", "table"]
    assert circles == [[f"medusa_jax.corpus.{name}" for name in wanted]]


def test_a_chain_of_imports_is_no_circle():
    tree = sources(
        corpus__a="from medusa_jax.corpus import b", corpus__b="import medusa_jax.corpus.c"
    )
    tree += sources(corpus__c="import json")
    assert source_tree.circles(source_tree.import_graph(tree)) == []


def test_imports_against_the_order_are_named():
    tree = sources(
        corpus__table="import medusa_jax.config.run\n\ndef f():\n    import medusa_jax.cli.app",
        config__run="",
        cli__app="from medusa_jax.corpus import table",
        new__thing="from medusa_jax.config import run",
    )
    wanted = [
        "medusa_jax/corpus/table.py:4 imports cli",
        "medusa_jax/new/thing.py:1 imports config",
    ]
    assert source_tree.upward_imports(tree, ORDER) == wanted


def test_submission_may_import_errors_and_files_only():
    tree = sources(config__run="", errors="")
    text = "import medusa_jax.errors\nimport medusa_jax.config.run"
    tree.append(source_tree.source_of(Path("submission/rows.py"), text))
    assert source_tree.upward_imports(tree, ORDER) == ["submission/rows.py:2 imports config"]


def test_the_order_is_read_from_contributing():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    order = source_tree.folder_order(page)
    assert order[:3] == ["errors", "files", "progress"]
    assert order[-1] == "cli"
    assert len(order) == len(set(order)) > 20


def test_shares_count_the_lines_of_folders_against_all():
    tree = sources(corpus__a="x\n" * 6, corpus__b="x\n", cli__a="x\n", errors="x\n" * 2)
    assert source_tree.folder_shares(tree) == {"corpus": 0.7, "cli": 0.1}


def test_long_lines_are_counted_in_characters():
    tree = sources(corpus__a=f"# {'ä' * 98}\n# {'ä' * 99}\n")
    assert source_tree.long_lines(tree, 100) == ["medusa_jax/corpus/a.py:2"]


def test_functions_are_measured_with_their_docstring_and_without_decorators():
    text = "@cached\ndef outer(\n    x,\n):\n    '''Doc.'''\n    def inner(): pass\n    return x\n"
    found = {one.name: one.lines for one in source_tree.functions_of(sources(corpus__a=text))}
    assert found == {"outer": 6, "inner": 1}


CHAIN = {
    "cli__app": """
from functools import partial
def train():
    from medusa_jax.training.loop import fit
    partial(fit, 1)()
""",
    "training__loop": """
from medusa_jax.training.step import Stack, compiled
def unused(stack: Stack): compiled()
def fit(n):
    _Loop(n).run()
class _Loop:
    def __init__(self, n): self.stacks: list[Stack] = []
    def run(self):
        self.inner()
    def inner(self):
        made = Stack()
        made.step()
""",
    "training__step": """
import jax
class Other:
    def step(self): pass
class Stack:
    def step(self): compiled()
def compiled():
    return jax.jit(lambda x: x)
""",
}


def chain(texts):
    """The names of the functions from cli.app.train to one that calls jax.jit."""
    calls = call_chain.calls_of(sources(**texts))
    found = call_chain.shortest_chain(
        calls, ["medusa_jax.cli.app.train"], lambda name: call_chain.names_jit(calls.bodies[name])
    )
    return [name.split(".", 2)[2] for name in found]


def test_a_chain_leads_through_partials_methods_and_new_objects():
    wanted = ["app.train", "loop.fit", "loop._Loop.run", "loop._Loop.inner"]
    assert chain(CHAIN) == [*wanted, "step.Stack.step", "step.compiled"]


def test_a_chain_leads_through_what_an_attribute_was_made_by():
    made = "    def __init__(self): self.run = compiled()\n    def step(self): self.run()\n"
    step = CHAIN["training__step"].replace("    def step(self): compiled()\n", made)
    wanted = ["app.train", "loop.fit", "loop._Loop.run", "loop._Loop.inner"]
    text = CHAIN["training__loop"].replace("        made = Stack()\n", "")
    text = text.replace("def inner(self):", "def inner(self, made: Stack):")
    assert chain(CHAIN | {"training__step": step, "training__loop": text}) == [
        *wanted,
        "step.Stack.step",
        "step.compiled",
    ]


def test_no_chain_where_a_call_is_missing():
    assert chain(CHAIN | {"training__loop": "def fit(n): pass"}) == []


@pytest.mark.parametrize(
    ("files", "returns"), [("aabbc", 0), ("aba", 1), ("abab", 2), ("abbaac", 1), ("", 0)]
)
def test_returns_count_files_that_were_left(files, returns):
    assert benchmark("structure").returns_of(list(files)) == returns


WAY = {
    "runs/a": "def start(): own(); b.read(); b.read()\ndef own(): pass",
    "corpus/b": "def read(): ledger.note(back); Table().rows\ndef back(): pass",
    "store/ledger": "def note(f): f(); step()",
    "training/step": "def step(): return np.zeros(1)",
    "batches/table": "class Table:\n    @property\n    def rows(self): pass",
}


def test_the_way_holds_functions_entered_from_another_file(tmp_path, monkeypatch):
    """A call within a file, a second one, a property and a module beside the way do not count.

    Only what returns an array has data.
    """
    found = {}
    for name, text in WAY.items():
        path = tmp_path / "medusa_jax" / f"{name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        namespace = found.setdefault(path.stem, {"np": np})
        exec(compile(text, str(path), "exec"), namespace)
    modules = {name: SimpleNamespace(**namespace) for name, namespace in found.items()}
    found["a"]["b"], found["b"]["ledger"] = modules["b"], modules["ledger"]
    found["ledger"]["step"] = modules["step"].step
    found["b"]["Table"] = modules["table"].Table
    monkeypatch.setattr(way, "ROOT", tmp_path)
    with way.Tracer() as tracer:
        modules["a"].start()
    paths = [f"medusa_jax/{name}" for name in ("corpus/b.py:read", "training/step.py:step")]
    assert tracer.way == dict(zip(paths, [False, True], strict=True))
