"""Stages 3 and 4 beside the same in PyTorch: python benchmarks/meta.py [--quick] [--rounds 3] [--out FILE]

30,000 utterances, 14 members × 11 outputs, batch 128, 20 epochs, 6 seeds, their soup. `ours` is `medusa_jax.ensemble.meta.fit`;
`slices` is a PyTorch loop that cuts its batches from tensors; `loader` has a DataLoader, as the published code. All draw a balanced
subset each epoch, train with the same loss and AdamW, score every epoch on the same held-out samples and keep the best. Each runs in
its own process, taking turns, on all cores; the seconds are those of the fit, compilation included, after the imports and the making of
the data. `again` is a second fit in the same process, as for every fold after the first.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

MEMBERS, CLASSES, WIDTH = 14, tuple("ASHUFDCN"), 11
HELD_OUT, TEST = 3_000, 8_000
BATCH, RATE, DECAY = 128, 1e-3, 0.01


def task(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features `[n, f]` of members that are right more often than not, soft labels `[n, c]`, ratings `[n, 3]` and consensus `[n]`."""
    rng, total = np.random.default_rng(0), count + HELD_OUT + TEST
    labels = rng.integers(
        0, len(CLASSES), total
    )  # of one size: an epoch's balanced subset is nearly everything
    logits = (
        rng.normal(0, 1, (total, MEMBERS, len(CLASSES)))
        + rng.uniform(0, 0.6, (1, MEMBERS, 1)) * np.eye(len(CLASSES))[labels][:, None]
    )
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    ratings = rng.uniform(1, 7, (total, 3)).astype(np.float32)
    guesses = np.clip((ratings[:, None] + rng.normal(0, 1, (total, MEMBERS, 3)) - 4) / 3, -1, 1)
    x_nf = np.concatenate([posteriors, guesses], axis=2).reshape(total, -1).astype(np.float32)
    return (
        x_nf,
        (0.7 * np.eye(len(CLASSES))[labels] + 0.3 / len(CLASSES)).astype(np.float32),
        ratings,
        labels,
    )


def ours(
    data: tuple[np.ndarray, ...], learn: np.ndarray, select: np.ndarray, epochs: int, seeds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[s, f, c+3]` and offsets `[s, c+3]` of the best epoch of each seed."""
    from medusa_jax.config.ensemble import EnsembleConfig
    from medusa_jax.ensemble import meta

    x_nf, soft, ratings, labels = data
    config = EnsembleConfig(
        seeds=seeds, epochs=epochs, batch_size=BATCH, learning_rate=RATE, weight_decay=DECAY
    )
    found = meta.fit(
        x_nf,
        meta.Targets(soft, ratings, np.ones_like(ratings), labels),
        CLASSES,
        learn,
        select,
        config,
        0,
    )
    return np.asarray(found.params["w"]), np.asarray(found.params["b"])


def in_torch(
    data: tuple[np.ndarray, ...],
    learn: np.ndarray,
    select: np.ndarray,
    epochs: int,
    seeds: int,
    batches: Callable[..., Iterator[Any]],
) -> tuple[np.ndarray, np.ndarray]:
    """The same by a plain loop over `batches(tensors, chosen)`."""
    import torch
    from torch.nn import functional

    from medusa_jax.batches.sampling import balanced_subset
    from medusa_jax.evaluation.balanced import balanced_macro_f1

    tensors, labels = [torch.as_tensor(a) for a in data[:3]], data[3]
    kept = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(data[0].shape[1], WIDTH)
        optimiser, best = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=DECAY), -1.0
        for epoch in range(epochs):
            chosen = learn[balanced_subset(labels[learn], CLASSES, seed, epoch)]
            for x, soft, ratings in batches(tensors, torch.as_tensor(chosen)):
                said = layer(x)
                class_loss = functional.cross_entropy(said[:, :-3], soft)
                loss = 1.5 * class_loss + 0.4 * functional.mse_loss(4 + 3 * said[:, -3:], ratings)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                guess = layer(tensors[0][select])[:, :-3].argmax(dim=1).numpy()
            score = balanced_macro_f1(labels[select], guess, len(CLASSES), 5, 0)
            if score > best:
                best, weights = score, [p.detach().numpy().copy() for p in layer.parameters()]
        kept.append(weights)
    return np.stack([w.T for w, _ in kept]), np.stack([b for _, b in kept])


def slices(tensors: list[Any], chosen: Any) -> Iterator[Any]:
    """Batches cut from the tensors by position."""
    import torch

    order = chosen[torch.randperm(len(chosen))]
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        yield [tensor[rows] for tensor in tensors]


def loader(tensors: list[Any], chosen: Any) -> Iterator[Any]:
    """Batches of a DataLoader over the subset."""
    from torch.utils.data import DataLoader, Subset, TensorDataset

    yield from DataLoader(
        Subset(TensorDataset(*tensors), chosen.tolist()),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
    )


def contend(name: str, count: int, epochs: int, seeds: int) -> dict[str, Any]:
    """One process's part: seconds of the fit (and of a second one, for ours), Macro-F1 on the test part of each seed and of the soup, peak memory."""
    from sklearn.metrics import f1_score

    data = task(count)
    learn, select = np.arange(count), np.arange(count, count + HELD_OUT)
    if name == "ours":
        import jax

        jax.block_until_ready(
            jax.numpy.zeros(1)
        )  # the device is there, as torch is once it is imported
        fit: Callable[[], tuple[np.ndarray, np.ndarray]] = lambda: ours(
            data, learn, select, epochs, seeds
        )
    else:
        import torch  # noqa: F401

        fit = lambda: in_torch(
            data, learn, select, epochs, seeds, slices if name == "slices" else loader
        )
    seconds = []
    for _ in range(2 if name == "ours" else 1):
        began = time.monotonic()
        w, b = fit()
        seconds.append(time.monotonic() - began)

    def macro_f1(weights: np.ndarray, offsets: np.ndarray) -> float:
        guess = (data[0][-TEST:] @ weights + offsets)[:, :-3].argmax(axis=1)
        return float(f1_score(data[3][-TEST:], guess, average="macro"))

    each, gigabytes = (
        [macro_f1(*pair) for pair in zip(w, b, strict=True)],
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )
    return {
        "seconds": seconds[0],
        "again": seconds[-1],
        "seeds": each,
        "soup": macro_f1(w.mean(axis=0), b.mean(axis=0)),
        "gigabytes": gigabytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of 2 epochs and 2 seeds: rough ratios that overstate compilation",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = (30_000, 2, 2) if given.quick else (30_000, 20, 6)
    if given.contend:
        print(json.dumps(contend(given.contend, *size)))
        return
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "slices": [], "loader": []}
    for _ in range(1 if given.quick else given.rounds):
        for name, done in runs.items():
            command = [
                sys.executable,
                __file__,
                "--contend",
                name,
                *(["--quick"] if given.quick else []),
            ]
            done.append(
                json.loads(
                    subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                )
            )
            one = done[-1]
            again = f" (again {one['again']:.2f})" if name == "ours" else ""
            scores = f"soup {one['soup']:.4f}, seeds {np.mean(one['seeds']):.4f} ± {np.std(one['seeds']):.4f}"
            print(
                f"{name:7s} {one['seconds']:6.2f} s{again}, Macro-F1 {scores}, {one['gigabytes']:.2f} GB",
                flush=True,
            )
    environment = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        **{p: version(p) for p in ("jax", "jaxlib", "torch", "numpy")},
    }
    print(", ".join(f"{key} {value}" for key, value in environment.items()))
    if given.out:
        given.out.write_text(
            json.dumps({"environment": environment, "size": size, "runs": runs}, indent=1)
        )
    print(*targets(runs), sep="\n")


def targets(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line a target; ratios are of rounds, with the lowest and highest."""
    lines = []
    for name, wanted in (("slices", 10), ("loader", 20)):
        for kind in ("seconds", "again"):
            ratios = sorted(
                other["seconds"] / one[kind]
                for one, other in zip(runs["ours"], runs[name], strict=True)
            )
            measured, spread = float(np.median(ratios)), f"({ratios[0]:.1f} to {ratios[-1]:.1f})"
            title = f"{name}, {'compilation included' if kind == 'seconds' else 'compiled before'}"
            lines.append(
                f"target {title}: wanted {wanted}× or more, measured {measured:.1f}× {spread}: {'met' if measured >= wanted else 'missed'}"
            )
    one, other = runs["ours"][0], runs["slices"][0]
    apart, spread = (
        abs(np.mean(one["seeds"]) - np.mean(other["seeds"])),
        np.std(one["seeds"]) + np.std(other["seeds"]),
    )
    verdict = "met" if apart <= max(2 * spread, 0.002) else "missed"
    lines.append(
        f"target same Macro-F1: wanted seeds' means within twice their spread ({2 * spread:.4f}), measured {apart:.4f} apart: {verdict}"
    )
    return lines


if __name__ == "__main__":
    main()
