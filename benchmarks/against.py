"""DeepSER's training step in this tree against another tree of this project, as of an older commit.

    git worktree add ../older COMMIT
    python benchmarks/against.py ../older [--hidden 256] [--batch 16] [--utterances 64]
        [--longest 200] [--shapes 3] [--rounds 3] [--out FILE]

Separate processes in turn, each with its own tree's packages, data and benchmarks/train_ours.py.
Prints an epoch's seconds and those of the first pass, which compiles; the target is on both
together and on the epoch alone.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, python, save, target

from medusa_jax.cli.start import PAGES, large_pages

HERE = Path(__file__).resolve().parents[1]
WRITE = "import sys, json, pathlib, train_task as t; t.write(pathlib.Path(sys.argv[1]), *map(int, "
WRITE += "sys.argv[2:])); print(json.dumps({}))"
SLOWER = 1.03
Rows = list[dict[str, Any]]


def main() -> None:
    given = arguments()
    trees = {"older": given.older.resolve(), "this": HERE}
    settings = {name: getattr(given, name) for name in ("hidden", "batch", "shapes")}
    rows: dict[str, dict[str, Rows]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, tree in trees.items():
            (Path(folder) / name).mkdir()
            sizes = (str(given.utterances), str(given.longest))
            python("-P", "-c", WRITE, str(Path(folder) / name), *sizes, **around(tree))
        for precision in ("float32", "bfloat16"):
            rows[precision] = {name: [] for name in trees}
            for _ in range(given.rounds):
                for name, tree in trees.items():
                    task = {**settings, "precision": precision, "members": 1, "device": "cpu"}
                    task["folder"] = str(Path(folder) / name)
                    worker = str(tree / "benchmarks" / "train_ours.py")
                    rows[precision][name].append(python(worker, json.dumps(task), **around(tree)))
            judge(precision, rows[precision])
    settings |= {name: getattr(given, name) for name in ("utterances", "longest", "rounds")}
    save(given.out, machine("jax", "jaxlib"), settings=settings, rows=rows)


def around(tree: Path) -> dict[str, str]:
    """The environment of a tree's processes: its packages first, large pages as `medusa` asks."""
    paths = f"{tree}:{tree / 'benchmarks'}"
    return {**large_pages({}, PAGES), "PYTHONPATH": paths}


def judge(precision: str, rows: dict[str, Rows]) -> None:
    """Print both trees and the ratio by round, for the epoch and with its compilation."""
    parts = {"epoch": ("seconds",), "epoch and compilation": ("seconds", "first_pass_seconds")}
    for what, names in parts.items():
        times = {
            tree: np.array([sum(row[n] for n in names) for row in rows[tree]]) for tree in rows
        }
        ratio = times["this"] / times["older"]
        middle = float(np.median(ratio))
        spread = f"{middle:.3f} ({ratio.min():.3f} to {ratio.max():.3f})"
        seconds = ", ".join(f"{tree} {np.median(some):.2f} s" for tree, some in times.items())
        print(f"{precision}, {what}: {seconds}")
        title = f"against-{precision}-{what.replace(' ', '-')}"
        print(target(title, f"at most {SLOWER} times", spread, middle <= SLOWER), flush=True)


def total(rows: Rows, names: tuple[str, ...]) -> np.ndarray:
    """Seconds of each round, the named parts together."""
    return np.array([sum(row[name] for name in names) for row in rows])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("older", type=Path, help="another tree")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--longest", type=int, default=200, help="frames of an utterance at most")
    parser.add_argument("--shapes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    if not (given.older / "benchmarks" / "train_ours.py").is_file():
        sys.exit(f"{given.older} is no tree of this project")
    return given


if __name__ == "__main__":
    main()
