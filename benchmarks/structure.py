"""Measure how the sources are built: imports, sizes, and two ways through them.

    python benchmarks/structure.py [--trace] [--list]

Prints a table by area, the shares of the folders, and one line a target. A missed target is not a
failure: the exit status is 0. `--list` names what misses a target. `--trace` also runs a small
system from audio to submission and follows it (benchmarks/utterance_way.py defines its numbers,
about a minute); everything else reads the files only. Standard library only.

Calls from `medusa train` to the compiled step: the shortest chain in the sources
(benchmarks/call_chain.py) from the command to a function of training/ that gives a training
step to `jax.jit`, not by way of `--plan`. With `--trace`, the functions that were active when
that step was first traced.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from call_chain import calls_of, names_jit, shortest_chain
from results import target
from source_tree import (
    PACKAGES,
    Function,
    Source,
    circles,
    folder_order,
    folder_shares,
    functions_of,
    import_graph,
    long_lines,
    read_sources,
    upward_imports,
)

ROOT = Path(__file__).parents[1]
AREAS = {"package": PACKAGES, "benchmarks": ("benchmarks", "docs"), "tests": ("tests",)}
COLUMNS, SHARE, MEDIAN, FUNCTION, FILE = 100, 0.10, 12, 60, 300
HOPS, CALLS, RETURNS = 6, 90, 25


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trace", action="store_true", help="also follow one small run")
    parser.add_argument("--list", action="store_true", help="name what misses a target")
    given = parser.parse_args()
    areas = {name: read_sources(ROOT, folders) for name, folders in AREAS.items()}
    print_areas(areas)
    judge_imports(areas["package"], given.list)
    judge_sizes(areas, given.list)
    judge_hops(train_chain(areas["package"]))
    if given.trace:
        judge_trace(traced(), given.list)


def report(name: str, wanted: str, measured: object, met: bool) -> None:
    print(target(name, wanted, measured, met))


def print_areas(areas: dict[str, list[Source]]) -> None:
    """The sizes of each area, and the share of each folder of the package."""
    heads = ("area", "files", "lines", "columns > 100", "longest file", "median def", "longest def")
    print("".join(f"{head:>15s}" for head in heads))
    for name, sources in areas.items():
        lengths = [one.lines for one in functions_of(sources)]
        lines = [len(source.text.splitlines()) for source in sources]
        row = [name, len(sources), sum(lines), len(long_lines(sources, COLUMNS)), max(lines)]
        row += [statistics.median(lengths), max(lengths)]
        print("".join(f"{cell!s:>15s}" for cell in row))
    shares = folder_shares(areas["package"])
    print("shares: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))


def judge_imports(package: list[Source], named: bool) -> None:
    """Circles and imports against the order of CONTRIBUTING.md."""
    order = folder_order((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    found = circles(import_graph(package))
    upward = upward_imports(package, order)
    report("import-circles", "0", len(found), not found)
    _name(named, [" <-> ".join(circle) for circle in found])
    report("upward-imports", "0", len(upward), not upward)
    _name(named, upward)


def judge_sizes(areas: dict[str, list[Source]], named: bool) -> None:
    """Folders, lines, functions and files; over all areas where an area is not named."""
    everything = [source for sources in areas.values() for source in sources]
    folder, share = next(iter(folder_shares(areas["package"]).items()))
    report("folder-share", f"at most {SHARE:.0%}", f"{share:.1%} ({folder})", share <= SHARE)
    wide = long_lines(everything, COLUMNS)
    report("columns", f"0 lines above {COLUMNS}", len(wide), not wide)
    _name(named, wide)
    median = statistics.median([one.lines for one in functions_of(areas["package"])])
    report("median-function", f"at most {MEDIAN} lines", f"{median:g}", median <= MEDIAN)
    functions = sorted(functions_of(everything), key=lambda one: -one.lines)
    longest = functions[0]
    text = f"{longest.lines} ({longest.name} in {longest.path})"
    report("longest-function", f"at most {FUNCTION} lines", text, longest.lines <= FUNCTION)
    _name(named, [_place(one) for one in functions if one.lines > FUNCTION])
    judge_files(everything, named)


def judge_files(sources: list[Source], named: bool) -> None:
    """The longest file."""
    lines = sorted(((len(one.text.splitlines()), str(one.path)) for one in sources), reverse=True)
    count, path = lines[0]
    report("longest-file", f"at most {FILE} lines", f"{count} ({path})", count <= FILE)
    _name(named, [f"{path}: {count} lines" for count, path in lines if count > FILE])


def _place(one: Function) -> str:
    return f"{one.path}:{one.line} {one.name}: {one.lines} lines"


def _name(named: bool, lines: list[str]) -> None:
    if named:
        print("".join(f"    {line}\n" for line in lines), end="")


def train_chain(package: list[Source]) -> list[str]:
    """Functions from the command `medusa train` to the one that compiles the training step."""
    planning = (".plan", ".memory")
    calls = calls_of([source for source in package if not source.module.endswith(planning)])
    starts = [
        name
        for name in calls.bodies
        if name.startswith("medusa_jax.cli.") and name.endswith(".train")
    ]

    def compiles(name: str) -> bool:
        other = "predict" in name or "draw" in name
        inside = name.startswith("medusa_jax.training.") and not other
        return inside and names_jit(calls.bodies[name])

    return shortest_chain(calls, starts, compiles)


def judge_hops(chain: list[str]) -> None:
    """The number of calls in a chain that begins with the command."""
    print("from the command to the compiled step: " + " -> ".join(chain or ["not found"]))
    hops = len(chain) - 1
    report("train-hops", f"at most {HOPS} calls", hops if chain else "none", 0 < hops <= HOPS)


def traced() -> dict[str, list[str]]:
    """What benchmarks/utterance_way.py found, in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "utterance_way.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        print(f"the traced run failed:\n{done.stderr[-2000:]}")
        return {"way": [], "data": [], "stack": []}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def judge_trace(found: dict[str, list[str]], named: bool) -> None:
    """The traced run's numbers."""
    whole, data, stack = found["way"], found["data"], found["stack"]
    print(f"the whole way: {len(whole)} calls, {returns_of(whole)} returns; that of the data:")
    text = f"{len(data)} in {len(set(map(file_of, data)))} files"
    report("way-calls", f"at most {CALLS}", text, 0 < len(data) <= CALLS)
    _name(named, data)
    returns = returns_of(data)
    report("way-returns", f"at most {RETURNS}", returns, bool(data) and returns <= RETURNS)
    hops = max(len(stack) - 1, 0)
    report("train-stack", f"at most {HOPS} calls", hops, 0 < hops <= HOPS)
    _name(named, stack)


def file_of(place: str) -> str:
    return place.partition(":")[0]


def returns_of(way: list[str]) -> int:
    """How often a list of `FILE:FUNCTION` comes back to a file that it left."""
    seen: set[str] = set()
    returns, last = 0, None
    for file in map(file_of, way):
        returns += file != last and file in seen
        seen.add(file)
        last = file
    return returns


if __name__ == "__main__":
    main()
