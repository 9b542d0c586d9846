"""MELD's text: baselines on sentence embeddings, and runs of configs/summer-meld-text.yaml.

    python benchmarks/meld_text.py MELD_FOLDER SENTENCE_ENCODER --cache FOLDER --out meld.json
        [--runs RUN_FOLDER ...]

The baselines read the mean of an encoder's last states: a logistic regression on single utterances,
its strength chosen on the development part, and a bidirectional GRU over dialogues, its epoch
chosen there, with five seeds; and the regression once more on all states. Weighted F1 is of the
official test part, its interval a bootstrap over dialogues. A run's members, which differ in their
seed, are compared with all of them in pairs, dialogue by dialogue; differences in its `medusa
ablate` are printed too. The GRU needs PyTorch.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from results import machine, save, target
from rich.console import Console
from rich.table import Table

from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.corpus.meld import read_meld
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import EvaluationError, MedusaError
from medusa_jax.evaluation.format import interval_text, p_text, signed_text
from medusa_jax.evaluation.headline import CONVERSATIONS, headline_of
from medusa_jax.evaluation.metrics import weighted_f1_of
from medusa_jax.evaluation.picked_by_test import picked_by_test, picked_sentences
from medusa_jax.evaluation.seeds import seed_scores
from medusa_jax.evaluation.significance import compare, difference_columns
from medusa_jax.evaluation.tables import Row
from medusa_jax.features.extract import extract
from medusa_jax.runs.run import Run
from medusa_jax.studies.study import score_columns
from medusa_jax.studies.study_file import ABLATION, MEAN, read_study

REGRESSION, GRU = "logistic regression", "BiGRU over dialogues"
DEEPER = "logistic regression, all states"
BASELINES = (REGRESSION, GRU, DEEPER)
EXPECTED = {REGRESSION: 0.554, GRU: 0.575}
TOLERANCE = 0.015  # room for the pooling of the encoder's states, and for seeds
GOAL = 0.59
SEEDS = (1, 2, 3, 4, 5)
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
TEST = "test1"
Guesses = Mapping[str, np.ndarray]
"""Class indices `[r, n]` of the test part by system, a row a seed."""


def embeddings(
    corpus: Corpus, encoder: Path, cache: Path, layers: Literal["last", "all"]
) -> np.ndarray:
    """The mean of these states of the encoder for each utterance `[n, d]`; zeros without any."""
    config = HuggingFaceConfig(model=f"hf:{encoder.absolute()}", layers=layers, dtype="float32")
    store = extract(corpus, config, cache)
    means = []
    for name in corpus.frame["id"]:
        frames_td = store.frames(name)
        means.append(frames_td.mean(axis=0) if len(frames_td) else np.zeros(frames_td.shape[1]))
    return np.stack(means).astype(np.float32)


def regression(corpus: Corpus, x_nd: np.ndarray) -> np.ndarray:
    """Predicted class of each utterance `[n]` by itself."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    labels_n, split_n = corpus.labels, corpus.frame["split"].to_numpy()
    train, held = (np.flatnonzero(split_n == part) for part in ("train", "development"))
    scaled_nd = StandardScaler().fit(x_nd[train]).transform(x_nd)
    model = LogisticRegression(
        max_iter=300, tol=1e-3, warm_start=True
    )  # from the strongest penalty on
    best, guess_n = -1.0, labels_n
    for strength in STRENGTHS:
        model.set_params(C=strength).fit(scaled_nd[train], labels_n[train])
        score = weighted_f1(labels_n[held], model.predict(scaled_nd[held]), len(corpus.classes))
        if score > best:
            best, guess_n = score, model.predict(scaled_nd)
    return guess_n


def recurrent(corpus: Corpus, x_nd: np.ndarray, seed: int, epochs: int = 30) -> np.ndarray:
    """Predicted class of each utterance `[n]` by a bidirectional GRU over its dialogue."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    torch.manual_seed(seed)
    classes, labels_n = len(corpus.classes), torch.tensor(corpus.labels)
    scaled = (x_nd - x_nd.mean(axis=0)) / (x_nd.std(axis=0) + 1e-6)
    turns = {part: _dialogues(corpus, part) for part in ("train", "development", TEST)}
    gru = torch.nn.GRU(x_nd.shape[1], 128, batch_first=True, bidirectional=True)
    drop, head = torch.nn.Dropout(0.5), torch.nn.Linear(256, classes)
    optimiser = torch.optim.Adam([*gru.parameters(), *head.parameters()], lr=1e-3)
    vectors = torch.from_numpy(scaled.astype(np.float32))

    def logits(rows: list[np.ndarray]) -> torch.Tensor:
        """Logits of the dialogues' utterances, one dialogue after the other."""
        states = gru(drop(pad_sequence([vectors[one] for one in rows], batch_first=True)))[0]
        return torch.cat([head(drop(x[: len(one)])) for x, one in zip(states, rows, strict=True)])

    def predicted(part: str) -> np.ndarray:
        for module in (gru, drop, head):
            module.eval()
        with torch.no_grad():
            guess = logits(turns[part]).argmax(dim=1).numpy()
        for module in (gru, drop, head):
            module.train()
        return guess

    held, test = np.concatenate(turns["development"]), np.concatenate(turns[TEST])
    best, guess_n = -1.0, np.zeros(len(corpus), np.int64)
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        shuffled = order.permutation(len(turns["train"]))
        for start in range(0, len(shuffled), 32):
            rows = [turns["train"][i] for i in shuffled[start : start + 32]]
            loss = torch.nn.functional.cross_entropy(
                logits(rows), labels_n[np.concatenate(rows)], ignore_index=-1
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        score = weighted_f1(corpus.labels[held], predicted("development"), classes)
        if score > best:
            best, guess_n[test] = score, predicted(TEST)
    return guess_n


def _dialogues(corpus: Corpus, part: str) -> list[np.ndarray]:
    """The positions of each dialogue of a part, in order."""
    split_n = corpus.frame["split"].to_numpy()
    return [rows for rows in corpus.dialogues().values() if split_n[rows[0]] == part]


def weighted_f1(labels_n: np.ndarray, guess_n: np.ndarray, classes: int) -> float:
    """Weighted F1 of class indices."""
    cells = np.bincount(labels_n * classes + guess_n, minlength=classes**2)
    return float(weighted_f1_of(cells.reshape(classes, classes)))


def members_of(folder: Path, test: Corpus) -> tuple[np.ndarray, list[str]]:
    """A run's predicted classes of the test part, a row a member, and what test labels would pick.

    Raises `EvaluationError` if the run is of other utterances or classes.
    """
    run = Run(load_config(folder / "config.yaml"), folder.resolve().parent)
    corpus = Corpus.load(run.corpus_file)
    mine = corpus.of_split(TEST)
    same = list(mine.frame["id"]) == list(test.frame["id"]) and mine.classes == test.classes
    if not same:
        raise EvaluationError("the run's test part is another one than MELD's", where=folder)
    rows = np.flatnonzero((corpus.frame["split"] == TEST).to_numpy())
    ids = [member.id for member in run.config.members]
    found = [run.predictions(corpus, 0, one).where(rows).logits.argmax(axis=1) for one in ids]
    picked = [picked_by_test(run.metrics_file(0, one), one) for one in ids]
    sentences = picked_sentences([one for one in picked if one is not None], [])
    return np.stack(found), sentences


def scored(test: Corpus, guesses: Guesses) -> list[Row]:
    """A row a system: mean over its seeds, interval over dialogues, spread over seeds."""
    headline = headline_of(test)
    rows: list[Row] = []
    for name, guess_rn in guesses.items():
        found = seed_scores(
            test.labels, guess_rn, test.classes, headline.clusters(test), headline=headline
        )
        rows.append({"system": name, **score_columns(found)})
    return rows


def differences(test: Corpus, guesses: Guesses, pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """The pairs' differences, tested dialogue by dialogue and corrected together.

    A system of one seed counts as several equal ones.
    """
    seeds = max(len(guess_rn) for guess_rn in guesses.values())
    even = {
        name: guess_rn if len(guess_rn) == seeds else np.resize(guess_rn, (seeds, len(test)))
        for name, guess_rn in guesses.items()
    }
    found = compare(
        test.labels,
        even,
        pairs,
        test.classes,
        test.frame[CONVERSATIONS.cluster],
        metric=CONVERSATIONS.metric,
        cluster=CONVERSATIONS.cluster,
    )
    return [{"one": one.one, "other": one.other, **difference_columns(one)} for one in found]


def ablated(folder: Path) -> list[Row]:
    """The mean lines of the run's ablation on the test part; none without one."""
    path = folder / "studies" / f"ablation-{TEST}.csv"
    if not path.is_file():
        return []
    return [row for row in read_study(path, ABLATION).rows if row["member"] == MEAN]


def show(title: str, headers: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(*headers, title=title)
    for line in lines:
        table.add_row(*("" if cell is None else str(cell) for cell in line))
    Console(width=None if os.isatty(1) else 100).print(table)


def _scores(row: Row) -> list[object]:
    values = [row[name] for name in ("weighted_f1", "seed_sd", "accuracy", "macro_f1")]
    shown = [None if value is None else f"{value:.3f}" for value in values]
    return [shown[0], interval_text(row, "weighted_f1"), *shown[1:]]


def _tested(row: Row) -> list[object]:
    bounds = interval_text(row, "difference", "+z.3f")
    return [signed_text(row["difference"]), bounds, p_text(row["p_corrected"])]


def report(
    test: Corpus, guesses: Guesses, runs: Sequence[Path], notes: Sequence[str]
) -> tuple[list[Row], list[Row]]:
    """Print scores, differences, ablations and notes; return the first two."""
    rows = scored(test, guesses)
    titles = ["system", "weighted F1", "95 % over dialogues", "sd", "accuracy", "Macro-F1"]
    lines = [[row["system"], *_scores(row)] for row in rows]
    show("MELD's test part, text alone", titles, lines)
    baselines = [name for name in BASELINES if name in guesses]
    own = [name for name in guesses if name not in baselines]
    pairs = [(one, other) for one in own for other in baselines] or [(GRU, REGRESSION)]
    pairs = [pair for pair in pairs if set(pair) <= set(guesses)]
    tested = differences(test, guesses, pairs) if pairs else []
    heads = ["difference", "95 % over dialogues", "p, corrected"]
    if tested:
        lines = [[row["one"], row["other"], *_tested(row)] for row in tested]
        show("Paired, by dialogue", ["of", "to", *heads], lines)
    for folder in runs:
        if found := ablated(folder):
            lines = [[row["row"], *_scores(row)[:2], *_tested(row)] for row in found]
            show(f"Without one thing: {folder.name}", ["row", *titles[1:3], *heads], lines)
    print(*notes, sep="\n")
    return rows, tested


def targets(rows: Sequence[Row], tested: Sequence[Row]) -> list[str]:
    """A line a baseline near its known score, and two for the best run."""
    scores = {str(row["system"]): float(row["weighted_f1"] or 0) for row in rows}
    lines = []
    for name, wanted in EXPECTED.items():
        if name in scores:
            near = abs(scores[name] - wanted) <= TOLERANCE
            lines.append(target(name, f"{wanted} ± {TOLERANCE}", f"{scores[name]:.3f}", near))
    own = {name: score for name, score in scores.items() if name not in BASELINES}
    if own:
        best = max(own, key=lambda name: own[name])
        lines.append(target(best, f"at least {GOAL}", f"{own[best]:.3f}", own[best] >= GOAL))
        (row,) = [one for one in tested if (one["one"], one["other"]) == (best, REGRESSION)]
        p, more = float(row["p_corrected"] or 0), float(row["difference"] or 0) > 0
        words = f"{signed_text(row['difference'])}, p {p_text(p, marked=False)}"
        goal = "significantly above the regression"
        lines.append(target(f"{best}, paired", goal, words, more and p < 0.05))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("meld", type=Path, help="folder of MELD's three CSV files")
    parser.add_argument("encoder", type=Path, help="folder of a sentence encoder, such as MiniLM")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the embeddings")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="finished run folders")
    parser.add_argument("--quick", action="store_true", help="without the GRU")
    options = parser.parse_args()
    try:
        corpus = read_meld(options.meld)
        rows, test = corpus.frame["split"].to_numpy() == TEST, corpus.of_split(TEST)
        guesses = {}
        for layers in ("last", "all"):
            vectors_nd = embeddings(corpus, options.encoder, options.cache, layers)
            name = REGRESSION if layers == "last" else DEEPER
            guesses[name] = regression(corpus, vectors_nd)[rows][None]
            if layers == "last" and not options.quick:
                found = [recurrent(corpus, vectors_nd, seed)[rows] for seed in SEEDS]
                guesses[GRU] = np.stack(found)
        notes = []
        for folder in options.runs:
            guesses[folder.name], sentences = members_of(folder, test)
            notes += [f"{folder.name}, {sentence}" for sentence in sentences]
        scores, tested = report(test, guesses, options.runs, notes)
    except MedusaError as error:
        raise SystemExit(str(error)) from error
    environment = machine("numpy", "scikit-learn", "torch", "medusa-jax")
    save(options.out, environment, systems=scores, differences=tested)
    print(*targets(scores, tested), sep="\n")


if __name__ == "__main__":
    main()
