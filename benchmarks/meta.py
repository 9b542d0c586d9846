"""Stages 3 and 4 beside the same in PyTorch: python benchmarks/meta.py [--quick] [--rounds 3]

30,000 utterances, 14 members × 11 outputs, batch 128, 20 epochs, 6 seeds, their soup. `ours` is
`medusa_jax.ensemble.meta_training.fit`; `slices` is a PyTorch loop that cuts its batches from
tensors; `loader` has a DataLoader, as the published code. All draw a balanced subset each epoch,
train with the same loss and AdamW, score every epoch on the same held-out samples and keep the
best. Each runs in its own process, in turn, on all cores. Seconds are those of the fit, compilation
included, without imports and the making of the data. `again` is a second fit in the same process,
as for every fold after the first.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, python, save, target

MEMBERS, CLASSES, WIDTH = 14, tuple("ASHUFDCN"), 11
HELD_OUT, TEST = 3_000, 8_000
BATCH, RATE, DECAY = 128, 1e-3, 0.01
Weights = tuple[np.ndarray, np.ndarray]


def task(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features `[n, f]`, soft labels `[n, c]`, ratings `[n, 3]` and consensus `[n]`.

    Members are right more often than not. Classes are of one size, so that an epoch's balanced
    subset is nearly everything.
    """
    rng, total = np.random.default_rng(0), count + HELD_OUT + TEST
    labels = rng.integers(0, len(CLASSES), total)
    one_hot = np.eye(len(CLASSES))[labels]
    logits = rng.normal(0, 1, (total, MEMBERS, len(CLASSES)))
    logits += rng.uniform(0, 0.6, (1, MEMBERS, 1)) * one_hot[:, None]
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    ratings = rng.uniform(1, 7, (total, 3)).astype(np.float32)
    guesses = np.clip((ratings[:, None] + rng.normal(0, 1, (total, MEMBERS, 3)) - 4) / 3, -1, 1)
    x_nf = np.concatenate([posteriors, guesses], axis=2).reshape(total, -1).astype(np.float32)
    return x_nf, (0.7 * one_hot + 0.3 / len(CLASSES)).astype(np.float32), ratings, labels


def ours(
    data: tuple[np.ndarray, ...], learn: np.ndarray, select: np.ndarray, epochs: int, seeds: int
) -> Weights:
    """Weights `[s, f, c+3]` and offsets `[s, c+3]` of the best epoch of each seed."""
    from medusa_jax.config.ensemble import EnsembleConfig
    from medusa_jax.config.training import TrainingConfig
    from medusa_jax.ensemble import meta, meta_training

    x_nf, soft, ratings, labels = data
    config = EnsembleConfig(
        seeds=seeds, epochs=epochs, batch_size=BATCH, learning_rate=RATE, weight_decay=DECAY
    )
    targets = meta.Targets(soft, ratings, np.ones_like(ratings), labels)
    training = TrainingConfig()
    found = meta_training.fit(x_nf, targets, CLASSES, learn, select, config, training, 0)
    return np.asarray(found.params["w"]), np.asarray(found.params["b"])


def in_torch(
    data: tuple[np.ndarray, ...],
    learn: np.ndarray,
    select: np.ndarray,
    epochs: int,
    seeds: int,
    batches: Callable[..., Iterator[Any]],
) -> Weights:
    """The same by a plain loop over `batches(tensors, chosen)`."""
    kept = [_torch_seed(data, learn, select, epochs, seed, batches) for seed in range(seeds)]
    return np.stack([w.T for w, _ in kept]), np.stack([b for _, b in kept])


def _torch_seed(
    data: tuple[np.ndarray, ...],
    learn: np.ndarray,
    select: np.ndarray,
    epochs: int,
    seed: int,
    batches: Callable[..., Iterator[Any]],
) -> list[np.ndarray]:
    """Weights and offsets of the best epoch of one seed."""
    import torch

    from medusa_jax.batches.sampling import balanced_subset
    from medusa_jax.evaluation.balanced import balanced_macro_f1

    tensors, labels = [torch.as_tensor(a) for a in data[:3]], data[3]
    torch.manual_seed(seed)
    layer = torch.nn.Linear(data[0].shape[1], WIDTH)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=DECAY)
    best, weights = -1.0, [np.zeros(0)]
    for epoch in range(epochs):
        chosen = learn[balanced_subset(labels[learn], CLASSES, seed, epoch)]
        for batch in batches(tensors, torch.as_tensor(chosen)):
            _torch_step(layer, optimiser, *batch)
        with torch.no_grad():
            guess = layer(tensors[0][select])[:, :-3].argmax(dim=1).numpy()
        score = balanced_macro_f1(labels[select], guess, len(CLASSES), 5, 0)
        if score > best:
            best, weights = score, [p.detach().numpy().copy() for p in layer.parameters()]
    return weights


def _torch_step(layer: Any, optimiser: Any, x: Any, soft: Any, ratings: Any) -> None:
    from torch.nn import functional

    out = layer(x)
    class_loss = functional.cross_entropy(out[:, :-3], soft)
    loss = 1.5 * class_loss + 0.4 * functional.mse_loss(4 + 3 * out[:, -3:], ratings)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def slices(tensors: list[Any], chosen: Any) -> Iterator[Any]:
    """Batches cut from the tensors by position."""
    import torch

    order = chosen[torch.randperm(len(chosen))]
    for rows in order.split(BATCH):
        yield [tensor[rows] for tensor in tensors]


def loader(tensors: list[Any], chosen: Any) -> Iterator[Any]:
    """Batches of a DataLoader over the subset."""
    from torch.utils.data import DataLoader, Subset, TensorDataset

    subset = Subset(TensorDataset(*tensors), chosen.tolist())
    yield from DataLoader(subset, batch_size=BATCH, shuffle=True)


def contender(name: str, *args: Any) -> Callable[[], Weights]:
    """The fit to time, once its device and imports are ready."""
    if name == "ours":
        import jax

        jax.block_until_ready(jax.numpy.zeros(1))
        return partial(ours, *args)
    import torch  # noqa: F401

    return partial(in_torch, *args, slices if name == "slices" else loader)


def contend(name: str, count: int, epochs: int, seeds: int) -> dict[str, Any]:
    """Seconds of the fit (for ours, of a second one too), Macro-F1 on the test part, memory."""
    data = task(count)
    learn, select = np.arange(count), np.arange(count, count + HELD_OUT)
    fit = contender(name, data, learn, select, epochs, seeds)
    seconds = []
    for _ in range(2 if name == "ours" else 1):
        began = time.monotonic()
        w, b = fit()
        seconds.append(time.monotonic() - began)
    return {
        "seconds": seconds[0],
        "again": seconds[-1],
        "seeds": [macro_f1(data, *pair) for pair in zip(w, b, strict=True)],
        "soup": macro_f1(data, w.mean(axis=0), b.mean(axis=0)),
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def macro_f1(data: tuple[np.ndarray, ...], weights: np.ndarray, offsets: np.ndarray) -> float:
    """Macro-F1 of one set of weights on the test part."""
    from sklearn.metrics import f1_score

    guess = (data[0][-TEST:] @ weights + offsets)[:, :-3].argmax(axis=1)
    return float(f1_score(data[3][-TEST:], guess, average="macro"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "one round of 2 epochs and 2 seeds: rough ratios that overstate compilation"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = (30_000, 2, 2) if given.quick else (30_000, 20, 6)
    if given.contend:
        print(json.dumps(contend(given.contend, *size)))
        return
    quickly = ["--quick"] if given.quick else []
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "slices": [], "loader": []}
    for _ in range(1 if given.quick else given.rounds):
        for name, done in runs.items():
            done.append(python(__file__, "--contend", name, *quickly))
            print(line(name, done[-1]), flush=True)
    environment = machine("jax", "jaxlib", "torch", "numpy")
    print(", ".join(f"{key} {value}" for key, value in environment.items()))
    save(given.out, environment, size=size, runs=runs)
    print(*targets(runs), sep="\n")


def line(name: str, one: dict[str, Any]) -> str:
    """A run's results, for people."""
    again = f" (again {one['again']:.2f})" if name == "ours" else ""
    mean, spread = np.mean(one["seeds"]), np.std(one["seeds"])
    scores = f"soup {one['soup']:.4f}, seeds {mean:.4f} ± {spread:.4f}"
    return f"{name:7s} {one['seconds']:6.2f} s{again}, Macro-F1 {scores}, {one['gigabytes']:.2f} GB"


def targets(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line a target; ratios are of rounds, with the lowest and highest."""
    lines = []
    for name, wanted in (("slices", 10), ("loader", 20)):
        for kind, when in (("seconds", "compilation included"), ("again", "compiled before")):
            pairs = zip(runs["ours"], runs[name], strict=True)
            ratios = sorted(other["seconds"] / one[kind] for one, other in pairs)
            measured, spread = float(np.median(ratios)), f"({ratios[0]:.1f} to {ratios[-1]:.1f})"
            found = f"{measured:.1f}× {spread}"
            lines.append(target(f"{name}, {when}", f"{wanted}× or more", found, measured >= wanted))
    return [*lines, same_scores(runs["ours"][0]["seeds"], runs["slices"][0]["seeds"])]


def same_scores(ours: list[float], theirs: list[float]) -> str:
    """The target that nothing but speed differs."""
    apart = abs(float(np.mean(ours) - np.mean(theirs)))
    twice = 2 * float(np.std(ours) + np.std(theirs))
    wanted = f"seeds' means within twice their spread ({twice:.4f})"
    return target("same Macro-F1", wanted, f"{apart:.4f} apart", apart <= max(twice, 0.002))


if __name__ == "__main__":
    main()
