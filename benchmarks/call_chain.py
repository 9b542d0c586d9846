"""The shortest chain of calls from one function to another, read from the sources.

Names are resolved as a reader would: imports, functions and classes of the module, `self.method`,
and `x.method` where `x` is annotated or made as a class, or one class alone has such a method; an
attribute made by `self.x = make(…)` is what `make` returns, so calling it refers to `make`. A
function that is only named (given to `partial`, say) counts as called; an annotation calls nothing.
A call that cannot be resolved is left out. Standard library only.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from source_tree import Source


@dataclass
class _Scope:
    """What a reference in a function can mean: local names, and the class that `self` is of."""

    names: Mapping[str, str | None]
    owner: str | None


@dataclass
class Calls:
    """Every function of the sources by its dotted name, and the functions that it refers to."""

    bodies: dict[str, ast.AST] = field(default_factory=dict)
    scopes: dict[str, _Scope] = field(default_factory=dict)
    methods: dict[str, list[str]] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)  # an attribute: the function that made it

    def references(self, name: str) -> Iterator[str]:
        """The functions that the body of `name` refers to."""
        scope = self._with_locals(name)
        for node in _walk_code(self.bodies[name]):
            if isinstance(node, ast.Name | ast.Attribute):
                found = self._function(self._resolved(node, scope))
                if found is not None and found != name:
                    yield found

    def _with_locals(self, name: str) -> _Scope:
        """The scope of a function, with the classes of annotated arguments and `x = Class()`."""
        scope = self.scopes[name]
        found: dict[str, str | None] = {}
        for node in ast.walk(self.bodies[name]):
            if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name):
                found[node.arg] = scope.names.get(node.annotation.id)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                made = self._resolved(node.value, scope)
                found |= {one.id: made for one in node.targets if isinstance(one, ast.Name)}
        known = {key: value for key, value in found.items() if value in self.classes}
        return _Scope({**scope.names, **known}, scope.owner)

    def _resolved(self, node: ast.expr, scope: _Scope) -> str | None:
        """The dotted name that an expression means, if that can be seen."""
        if isinstance(node, ast.Name):
            return scope.names.get(node.id)
        if isinstance(node, ast.Call):
            made = self._resolved(node.func, scope)
            return made if made in self.classes else None
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Name) and node.value.id == "self" and scope.owner:
            own = f"{scope.owner}.{node.attr}"
            return self.made.get(own, own)
        left = self._resolved(node.value, scope)
        if left is not None and (left in self.modules or f"{left}.{node.attr}" in self.bodies):
            return f"{left}.{node.attr}"
        owners = self.methods.get(node.attr, [])
        return owners[0] if len(owners) == 1 else None

    def _function(self, name: str | None) -> str | None:
        """A function's own name; of a class, its `__init__`."""
        if name in self.bodies:
            return name
        return f"{name}.__init__" if f"{name}.__init__" in self.bodies else None


def _walk_code(node: ast.AST) -> Iterator[ast.AST]:
    """`ast.walk` without annotations."""
    waiting = [node]
    for one in waiting:  # grows as it is read
        yield one
        for name, value in ast.iter_fields(one):
            if name not in ("annotation", "returns"):
                children = value if isinstance(value, list) else [value]
                waiting += [child for child in children if isinstance(child, ast.AST)]


def calls_of(sources: Iterable[Source]) -> Calls:
    """Read every function of the sources. A nested function is part of the one around it."""
    sources = list(sources)
    calls = Calls(modules={source.module for source in sources})
    for source in sources:
        names = _names(source)
        for node in source.tree.body:
            if isinstance(node, ast.FunctionDef):
                _add(calls, f"{source.module}.{node.name}", node, _Scope(names, None))
            elif isinstance(node, ast.ClassDef):
                _add_class(calls, f"{source.module}.{node.name}", node, names)
    return calls


def _add(calls: Calls, name: str, node: ast.FunctionDef, scope: _Scope) -> None:
    calls.bodies[name] = node
    calls.scopes[name] = scope


def _add_class(calls: Calls, owner: str, node: ast.ClassDef, names: dict[str, str]) -> None:
    calls.classes.add(owner)
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            _add(calls, f"{owner}.{method.name}", method, _Scope(names, owner))
            calls.methods.setdefault(method.name, []).append(f"{owner}.{method.name}")
            if method.name == "__init__":
                _add_made(calls, owner, method, names)


def _add_made(calls: Calls, owner: str, init: ast.FunctionDef, names: dict[str, str]) -> None:
    """Note the attributes made by `self.x = function(…)`."""
    for node in ast.walk(init):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        function, target = node.value.func, node.targets[0]
        if isinstance(function, ast.Name) and isinstance(target, ast.Attribute):
            calls.made[f"{owner}.{target.attr}"] = names.get(function.id, "")


def _names(source: Source) -> dict[str, str]:
    """What each name means that the module defines or imports, wherever in it the import stands."""
    names = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = f"{source.module}.{node.name}"
    return names


def shortest_chain(calls: Calls, starts: Iterable[str], ends: Callable[[str], bool]) -> list[str]:
    """Functions from one of `starts` to the nearest for which `ends` holds; empty if none."""
    before: dict[str, str | None] = dict.fromkeys(starts)
    waiting = list(before)
    for name in waiting:  # grows as it is read: breadth first
        if ends(name):
            return _path(before, name)
        for found in calls.references(name):
            if found not in before:
                before[found] = name
                waiting.append(found)
    return []


def _path(before: dict[str, str | None], name: str) -> list[str]:
    chain = [name]
    while (caller := before[chain[0]]) is not None:
        chain.insert(0, caller)
    return chain


def names_jit(node: ast.AST) -> bool:
    """Whether `jax.jit` stands in a function's body or decorators."""
    return any(
        isinstance(one, ast.Attribute) and one.attr == "jit" and isinstance(one.value, ast.Name)
        for one in ast.walk(node)
    )
