"""An epoch of SUMMER against a plain PyTorch one, on generated conversations.

    python benchmarks/summer.py [--quick] [--only iemocap|meld] [--rounds 3] [--epochs 3]
        [--width 256] [--experts 8] [--out FILE]

Shapes of IEMOCAP (120 dialogues of 48 turns) and MELD (1,038 of 10), three streams each at the
published widths. Separate processes in turn; programs are compiled before the clock starts, the
time for it is printed beside. Rates are of real turns: PyTorch pads random batches to their
longest and packs them for its GRUs, ours have several dialogues in a row. Ours also on four times
as many dialogues. Two free cores need about half an hour.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, python, save, target
from summer_task import SHAPES, generated, write

from medusa_jax.cli.start import PAGES, large_pages

HERE = Path(__file__).parent
CONTENDERS = {"torch": "summer_torch.py", "ours": "summer_ours.py", "ours x4": "summer_ours.py"}
PHASES = ("teacher", "student")
FASTER, LINEAR = 2.0, 1.15
Rows = dict[str, list[dict[str, Any]]]


def measured(task: dict[str, Any], rounds: int, folder: Path) -> Rows:
    """Rows of every contender, in turn; ours reads feature stores, as a run does."""
    rows: Rows = {name: [] for name in CONTENDERS}
    shape, stores = SHAPES[task["corpus"]], {}
    for times in (1, 4):
        stores[times] = folder / f"{task['corpus']}-{times}"
        write(stores[times], shape, generated(shape, times))
    for _ in range(rounds):
        for name, worker in CONTENDERS.items():
            times = 4 if name == "ours x4" else 1
            own = {**task, "times": times, "folder": str(stores[times])}
            # ours with the memory pages that `medusa` asks for
            around = {} if name == "torch" else large_pages({}, PAGES)
            rows[name].append(python(str(HERE / worker), json.dumps(own), **around))
    return rows


def judged(corpus: str, rows: Rows) -> list[str]:
    """Print each contender; a line a target."""
    for name, own in rows.items():
        parts = [shown(phase, own) for phase in PHASES]
        print(f"{corpus:8s} {name:8s} {'; '.join(parts)}; memory {largest(own) / 1e9:.2f} GB")
    lines = []
    for phase in PHASES:
        found = ratios(rows["ours"], rows["torch"], phase)
        text, middle = spread(found), float(np.median(found))
        wanted = f"{FASTER:.0f} times PyTorch"
        lines.append(target(f"summer-{corpus}-{phase}", wanted, text, middle >= FASTER))
    memory = largest(rows["ours"]) / largest(rows["torch"])
    lines.append(
        target(f"summer-{corpus}-memory", "at most PyTorch's", f"{memory:.2f}", memory <= 1)
    )
    slower = ratios(rows["ours"], rows["ours x4"], "student")
    middle = float(np.median(slower))
    wanted = f"at most {LINEAR} times the time a turn of 4 times the dialogues"
    lines.append(target(f"summer-{corpus}-linear", wanted, spread(slower), middle <= LINEAR))
    return lines


def shown(phase: str, rows: list[dict[str, Any]]) -> str:
    """Turns a second, seconds before the clock starts, and padding where it is computed."""
    rate = np.median([row[phase]["rate"] for row in rows])
    first = np.median([row[phase]["first"] for row in rows])
    padding = rows[0][phase].get("padding")
    more = "" if padding is None else f", {padding:.0%} padding"
    return f"{phase} {rate:,.0f} turns/s (first {first:.0f} s{more})"


def ratios(rows: list[dict[str, Any]], others: list[dict[str, Any]], phase: str) -> list[float]:
    """Rates of `rows` by those of `others`, by round."""
    pairs = zip(rows, others, strict=True)
    return [one[phase]["rate"] / other[phase]["rate"] for one, other in pairs]


def spread(values: list[float]) -> str:
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def largest(rows: list[dict[str, Any]]) -> float:
    return float(max(row["memory"] for row in rows))


def main() -> None:
    """Compare, print, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "MELD's shape at width 32 with two experts, one round"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--only", choices=("iemocap", "meld"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--out", type=Path, help="JSON to write")
    given = parser.parse_args()
    if given.quick:
        given.only, given.rounds, given.epochs, given.width, given.experts = "meld", 1, 1, 32, 2
    task = {key: getattr(given, key) for key in ("epochs", "width", "experts")}
    found, lines = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for corpus in [given.only] if given.only else ["iemocap", "meld"]:
            found[corpus] = measured({**task, "corpus": corpus}, given.rounds, Path(folder))
            lines += judged(corpus, found[corpus])
    print(*lines, sep="\n")
    settings = {key: value for key, value in vars(given).items() if key != "out"}
    environment = machine("jax", "flax", "torch", "medusa-jax")
    save(given.out, environment, settings=settings, rows=found)


if __name__ == "__main__":
    main()
