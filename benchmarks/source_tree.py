"""Modules, imports, functions and lines of Python sources, read without importing them.

Used by benchmarks/structure.py; standard library only.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("medusa_jax", "submission")
_NAME_IN_ORDER = re.compile(r"^ {4}(\w+)(?:\.py|/)\s", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """One Python file: its dotted module name, its text, and its syntax tree."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        """`corpus` for medusa_jax.corpus.table, `submission` for submission.rows."""
        return folder_of(self.module)


@dataclass(frozen=True)
class Function:
    """A function or method and its length from `def` to its last line, docstring included."""

    name: str
    path: Path
    line: int
    lines: int


def read_sources(root: Path, folders: Iterable[str]) -> list[Source]:
    """Every Python file below these folders of `root`, in the order of their paths."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [source_of(path.relative_to(root), path.read_text(encoding="utf-8")) for path in paths]


def source_of(path: Path, text: str) -> Source:
    """A source from its path, relative to the root, and its text. Raises `SyntaxError`."""
    parts = path.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path, module, text, ast.parse(text))


def folder_of(module: str) -> str:
    """The place of a module in the order of imports; "" for the package itself and for others."""
    first, _, rest = module.partition(".")
    return first if first == "submission" else rest.split(".")[0] if first == "medusa_jax" else ""


def folder_order(contributing: str) -> list[str]:
    """The folders in the order of CONTRIBUTING.md's list, in which imports may only point up."""
    return _NAME_IN_ORDER.findall(contributing)


def imports_of(source: Source, modules: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Line and module of every import of `modules`, in functions and under TYPE_CHECKING too."""
    known = set(modules)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            module = name if name in known else name.rpartition(".")[0]
            if module in known:
                yield node.lineno, module


def import_graph(sources: Iterable[Source]) -> dict[str, set[str]]:
    """The modules that each module imports."""
    found = {source.module: source for source in sources}
    return {
        name: {module for _, module in imports_of(source, found)} for name, source in found.items()
    }


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Sets of modules that reach each other by imports (strongly connected), each sorted."""
    reached = {name: _reachable(graph, name) for name in graph}
    found: list[list[str]] = []
    for name in sorted(graph):
        if name in reached[name] and not any(name in one for one in found):
            found.append(sorted(other for other in reached[name] if name in reached[other]))
    return found


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """What can be reached from `start` in one step or more."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph.get(name, ()))
    return seen


def upward_imports(sources: Iterable[Source], order: list[str]) -> list[str]:
    """`FILE:LINE imports FOLDER` for every import of a folder that comes later in `order`.

    A folder that is not in `order` may import nothing. `submission` works without the rest, so it
    may import only itself, `errors` and `files`.
    """
    sources = list(sources)
    modules = [source.module for source in sources]
    found = []
    for source in sources:
        allowed = _allowed(source.folder, order)
        for line, module in imports_of(source, modules):
            if source.folder and folder_of(module) not in allowed:
                found.append(f"{source.path}:{line} imports {folder_of(module) or module}")
    return found


def _allowed(folder: str, order: list[str]) -> set[str]:
    if folder == "submission":
        return {"submission", "errors", "files"}
    return set(order[: order.index(folder) + 1]) if folder in order else set()


def folder_shares(sources: Iterable[Source]) -> dict[str, float]:
    """Each folder's share of all lines, the largest first; files outside folders count as lines."""
    lines: dict[str, int] = {}
    total = 0
    for source in sources:
        count = len(source.text.splitlines())
        total += count
        if len(source.path.parts) > 2 or source.folder == "submission":
            lines[source.folder] = lines.get(source.folder, 0) + count
    ordered = sorted(lines.items(), key=lambda item: -item[1])
    return {folder: count / total for folder, count in ordered}


def properties_of(sources: Iterable[Source]) -> set[str]:
    """`FILE:CLASS.NAME` of every property, cached ones too."""
    found = set()
    for source in sources:
        for owner in ast.walk(source.tree):
            if isinstance(owner, ast.ClassDef):
                found |= {f"{source.path}:{owner.name}.{name}" for name in _properties(owner)}
    return found


def _properties(owner: ast.ClassDef) -> Iterator[str]:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef):
            decorators = [ast.unparse(one).rpartition(".")[2] for one in node.decorator_list]
            if {"property", "cached_property"} & set(decorators):
                yield node.name


def long_lines(sources: Iterable[Source], columns: int) -> list[str]:
    """`FILE:LINE` of every line of more than `columns` characters."""
    return [
        f"{source.path}:{number}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), 1)
        if len(line) > columns
    ]


def functions_of(sources: Iterable[Source]) -> list[Function]:
    """Every function and method, nested ones too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        Function(node.name, source.path, node.lineno, (node.end_lineno or 0) - node.lineno + 1)
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, kinds)
    ]
