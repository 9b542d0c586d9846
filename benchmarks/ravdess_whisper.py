"""Whisper's hidden states on RAVDESS: a linear SVM on each layer, six speaker-disjoint folds.

    python benchmarks/ravdess_whisper.py RAVDESS_FOLDER MODEL_FOLDER --cache FOLDER --out svm.json

Mean and standard deviation over time of the hidden states, computed by the Flax encoder on each
clip's real length (`window: real`), are standardised and classified by a linear SVM (C = .01,
classes weighed alike). Folds, scores and intervals are those of benchmarks/ravdess_svm.py. Two
cores need about four minutes for Whisper tiny.en and ten for base, one with the cache.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from ravdess_svm import ACTORS_A_FOLD, CLASSES, clips_of, pooled_predictions
from results import machine, save, target
from rich.console import Console

from medusa_jax.audio.decode import load_audio
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import MedusaError
from medusa_jax.evaluation.intervals import macro_f1_interval
from medusa_jax.evaluation.metrics import classification_scores
from medusa_jax.evaluation.tables import SystemScores, rich_table, rows_of
from medusa_jax.features.registry import build_extractor
from medusa_jax.files import digest_of, write_whole
from medusa_jax.hub.model_folder import digests

BATCH = 48  # clips
EXPECTED = {4: ("all states", 0.722), 6: ("sum of the last four", 0.713)}
"""By number of layers (tiny.en, base): the features and Macro-F1 found with PyTorch's encoder."""
TOLERANCE = 0.01


def statistics(folder: Path, clips: list[Path], cache: Path) -> np.ndarray:
    """Mean and deviation over time `[n, l + 2, 2h]` of every hidden state and of the sum of the
    last four, or a `cache` of them.
    """
    extractor: Any = build_extractor(
        HuggingFaceConfig(model=f"hf:{folder}", layers="all", backend="flax", window="real")
    )
    names = [clip.stem for clip in clips]
    path = cache / f"whisper-{digest_of([digests(folder), names])[:12]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    found = []
    for first in range(0, len(clips), BATCH):
        for frames in extractor([load_audio(clip) for clip in clips[first : first + BATCH]]):
            if isinstance(frames, MedusaError):
                raise frames
            by_state = frames.reshape(len(frames), extractor.layers + 1, -1)
            sums = by_state[:, -4:].sum(axis=1, keepdims=True)
            every = np.concatenate([by_state, sums], axis=1)
            found.append(np.concatenate([every.mean(axis=0), every.std(axis=0)], axis=1))
    with write_whole(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.stack(found))
    return np.stack(found)


def features_of(x_nlw: np.ndarray) -> dict[str, np.ndarray]:
    """The vectors that an SVM learns from, by name."""
    states = x_nlw.shape[1] - 1
    each = {f"state {place}": x_nlw[:, place] for place in range(states)}
    every = x_nlw[:, :states].reshape(len(x_nlw), -1)
    return each | {"all states": every, "sum of the last four": x_nlw[:, states]}


def measure(folder: Path, model: Path, cache: Path, fold: int | None) -> list[SystemScores]:
    """Scores of an SVM on each kind of features, on all folds or on one (from 1)."""
    from sklearn.svm import SVC

    clips, labels_n, actors_n = clips_of(folder)
    scored_n = np.ones(len(clips), bool)
    if fold is not None:
        scored_n = (actors_n - 1) // ACTORS_A_FOLD == fold - 1
    speakers = [str(actor) for actor in actors_n[scored_n]]
    systems = []
    for name, x_nd in features_of(statistics(model, clips, cache)).items():
        guess_n = pooled_predictions(
            x_nd, labels_n, actors_n, lambda: SVC(kernel="linear", C=0.01, class_weight="balanced")
        )
        truth_n, guess_n = labels_n[scored_n], guess_n[scored_n]
        scores = classification_scores(truth_n, np.eye(len(CLASSES))[guess_n], CLASSES)
        interval = macro_f1_interval(truth_n, guess_n, CLASSES, speakers)
        systems.append(SystemScores(name, "baseline", scores, interval=interval))
    return systems


def main() -> None:
    """Measure, print a table, write the JSON, judge the targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ravdess", type=Path)
    parser.add_argument("model", type=Path, help="a folder of Whisper tiny.en or base")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the statistics")
    parser.add_argument("--fold", type=int, choices=range(1, 7), help="score this fold alone")
    parser.add_argument("--out", type=Path, help="JSON with every score")
    options = parser.parse_args()
    rows = rows_of(measure(options.ravdess, options.model, options.cache, options.fold))
    Console(width=80).print(rich_table(rows, f"{options.model.name} on RAVDESS"))
    found = {str(row["system"]): float(row["macro_f1"] or 0) for row in rows}
    # a system for each layer, for the first layer's input and for two combinations
    wanted = EXPECTED.get(len(rows) - 3)
    if wanted is not None and options.fold is None:
        name, score = wanted
        near = abs(found[name] - score) <= TOLERANCE
        print(target(name.replace(" ", "-"), f"{score} ± {TOLERANCE}", f"{found[name]:.3f}", near))
    environment = machine("numpy", "scikit-learn", "jax", "flax", "medusa-jax")
    save(options.out, environment, systems=rows)


if __name__ == "__main__":
    main()
