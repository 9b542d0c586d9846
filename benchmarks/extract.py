"""Extraction of a pretrained encoder's frames: the published way against ours.

    python benchmarks/extract.py [--quick] [--data FOLDER] [--model wavlm-large] [--device cuda]
        [--out FILE]
    python benchmarks/extract.py --memory [--quick]     peak memory of 200 and of 2,000 clips
    python benchmarks/extract.py --project              the table of docs/extraction.md: time and
                                                        disk that MSP-Podcast needs

Random weights, real clips, separate processes in turn. `--data` (or MEDUSA_SHARED_DATA) holds
`ravdess/`; without it the clips are generated speech.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import encoders
import numpy as np
import pandas as pd
import projection
from results import machine, python, save, target

from medusa_jax.corpus.sources import read_source
from medusa_jax.corpus.table import Corpus
from medusa_jax.store.reader import FeatureStore

CLIPS, MANY = 200, 2000
SAME = 1e-4  # of the largest number
FLAT = 1.1


def clips(data: Path | None, count: int, folder: Path) -> Corpus:
    """`count` utterances of RAVDESS or of generated speech, spread over all of it.

    Where there are fewer, they are repeated under new ids.
    """
    if data is not None and (data / "ravdess").is_dir():
        corpus = read_source("ravdess", data / "ravdess")
    else:
        from medusa_jax.synthetic.generate import generate

        corpus = read_source(
            "msp-podcast", generate(folder / "generated", size=100, test_per_class=5)
        )
    rows = np.linspace(0, len(corpus), min(count, len(corpus)), endpoint=False).astype(int)
    frame = corpus.frame.iloc[np.resize(rows, count)].reset_index(drop=True)
    return replace(corpus, frame=frame.assign(id=[f"{place:05d}" for place in range(count)]))


def run(task: dict[str, Any]) -> dict[str, Any]:
    """One contender in a fresh process."""
    return python(str(Path(__file__).with_name("extract_worker.py")), json.dumps(task))


def compare(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds of all contenders, and the largest difference between their numbers."""
    corpus = clips(given.data, 12 if given.quick else given.clips, folder)
    corpus.save(folder / "table.parquet")
    encoder = encoders.ENCODERS[given.model]
    task = dict(
        model=str(encoders.save(given.model, folder)),
        layers=encoder.layers,
        table=str(folder / "table.parquet"),
        device=given.device,
    )
    task |= dict(window="full", compute="float32", dtype="float32")
    contenders = {"published": {"contender": "published"}, "ours": {"contender": "ours"}}
    if given.device == "cuda" or fast_bfloat16():
        contenders["ours, bfloat16"] = {
            "contender": "ours",
            "compute": "bfloat16",
            "dtype": "float16",
        }
        if encoder.kind == "Whisper":
            contenders["ours, bfloat16, real"] = {**contenders["ours, bfloat16"], "window": "real"}
    rows: list[dict[str, Any]] = []
    for turn in range(1 if given.quick else given.rounds):
        for name, settings in contenders.items():
            out = folder / f"{name}-{turn}".replace(" ", "")
            rows.append(
                {"contender": name, "round": turn, **run({**task, **settings, "out": str(out)})}
            )
    hours = float(corpus.frame["seconds"].sum()) / 3600
    return {
        "model": given.model,
        "corpus": corpus.name,
        "synthetic": corpus.synthetic,
        "clips": len(corpus),
        "hours": hours,
        "flops_a_clip": encoders.flops(given.model, float(corpus.frame["seconds"].mean())),
        "rows": rows,
        "difference": difference(folder / "published-0", folder / "ours-0"),
        "peak_flops": peak_flops(given.device),
    }


def difference(files: Path, stores: Path) -> float:
    """The largest difference between `.npy` files and store, relative to an utterance's largest."""
    (folder,) = stores.iterdir()
    store, largest = FeatureStore.open(folder), 0.0
    for id in store.ids:
        wanted_td = np.load(files / f"{id}.npy", allow_pickle=False)
        if wanted_td.shape != store[id].shape:
            raise SystemExit(
                f"{id}: {store[id].shape} frames, the published way has {wanted_td.shape}"
            )
        largest = max(largest, float(np.abs(store[id] - wanted_td).max() / np.abs(wanted_td).max()))
    return largest


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(
        flag in flags.read_text() for flag in ("avx512_bf16", "amx_bf16")
    )


def peak_flops(device: str) -> dict[str, float]:
    """Operations a second that one large product of matrices reaches here, by precision."""
    import torch

    size, found = 8192 if device == "cuda" else 2048, {}
    for name in ("float32", "bfloat16"):
        a = torch.randn(size, size, device=device).to(getattr(torch, name))
        times = []
        for _ in range(6):
            began = time.perf_counter()
            a @ a
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        found[name] = 2 * size**3 / min(times)
    return found


def tell(result: dict[str, Any], device: str) -> list[str]:
    """The report, and one line a target."""
    table = pd.DataFrame(result["rows"])
    seconds = table.pivot(index="round", columns="contender", values="seconds")
    kind = "generated clips" if result["synthetic"] else "real clips"
    amount = f"{result['clips']} {kind} of {result['corpus']}, {result['hours']:.3f} h"
    print(f"{result['model']} (random weights), {amount}; {os.cpu_count()} cores, {device}")
    ratios: dict[str, pd.Series] = {}
    for name in dict.fromkeys(table["contender"]):
        rows = table[table["contender"] == name]
        ratios[name] = seconds["published"] / seconds[name]
        rate = result["hours"] * 3600 / rows["seconds"].median()
        share = (
            result["flops_a_clip"]
            * result["clips"]
            / rows["seconds"].median()
            / result["peak_flops"]["bfloat16" if "bf" in name else "float32"]
        )
        memory = f"{rows['peak_mb'].max():.0f} MB" + (
            f", on the card {rows['cuda_peak_mb'].max():.0f} MB" if device == "cuda" else ""
        )
        spread = (
            f"{ratios[name].median():.2f} ({ratios[name].min():.2f} to {ratios[name].max():.2f})"
        )
        real = ", real" in name
        print(
            f"{name:22s} {rate:8.1f} h of audio an hour, x{spread}, {memory}"
            + ("" if real else f", {share:.0%} of the measured peak")
        )
    equal = float(ratios["ours"].median())
    differ = result["difference"]
    lines = [target("same-numbers", f"at most {SAME}", f"{differ:.1e}", differ <= SAME)]
    if device == "cpu":
        found = f"{equal:.2f} on {os.cpu_count()} cores"
        lines.append(target("extract-cpu", "1.5 times on 2 cores", found, equal >= 1.5))
        return [*lines, target("extract-h200", "10 times", None, False)]
    fast = float(ratios["ours, bfloat16"].median())
    found = f"{fast:.2f} in bfloat16 ({equal:.2f} in float32)"
    return [*lines, target("extract-h200", "10 times", found, fast >= 10)]


def memory(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak memory of a small encoder for few clips and for ten times as many.

    The waveforms of the many take far more memory than the peak may grow.
    """
    counts = (260, 1040) if given.quick else (CLIPS, MANY)
    model, peaks, held = str(encoders.save("wavlm-tiny", folder)), {}, {}
    for count in counts:
        corpus, table = clips(given.data, count, folder), folder / f"{count}.parquet"
        corpus.save(table)
        task = dict(
            contender="ours",
            model=model,
            layers="sum_last_4",
            table=str(table),
            device=given.device,
            window="full",
        )
        task |= dict(compute="float32", dtype="float16", out=str(folder / f"store-{count}"))
        peaks[count] = run(task)["peak_mb"]
        held[count] = float(corpus.frame["seconds"].sum()) * 16_000 * 4 / 1e6
    few, many = counts
    ratio = peaks[many] / peaks[few]
    print(
        *(
            f"{count} clips: peak {peaks[count]:.0f} MB, waveforms {held[count]:.0f} MB"
            for count in counts
        ),
        sep="\n",
    )
    wanted = f"at most {FLAT} times from {few} to {many} clips"
    print(target("flat-memory", wanted, f"{ratio:.3f}", ratio <= FLAT))
    return {"peak_mb": peaks, "waveforms_mb": held, "ratio": ratio}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = os.environ.get("MEDUSA_SHARED_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(shared) if shared else None,
        help="folder that holds ravdess/",
    )
    parser.add_argument(
        "--model",
        choices=[name for name, one in encoders.ENCODERS.items() if one.reads == "audio"],
        default="wavlm-base-plus",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="12 clips once, or 260 against 1,040 for --memory"
    )
    parser.add_argument(
        "--memory", action="store_true", help="peak memory of 200 and 2,000 clips instead"
    )
    parser.add_argument("--project", action="store_true", help="what MSP-Podcast needs instead")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.project:
        result: dict[str, Any] = projection.project()
        print(*result["lines"], sep="\n")
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = memory(given, Path(folder)) if given.memory else compare(given, Path(folder))
        if not given.memory:
            print(*tell(result, given.device), sep="\n")
    save(given.out, machine("torch", "transformers", "numpy", "medusa-jax"), **result)


if __name__ == "__main__":
    main()
