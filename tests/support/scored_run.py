"""A run with random predictions instead of training; all later steps are real, in a second."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import merged
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.runs.combine import combine
from medusa_jax.runs.folder import opened
from medusa_jax.runs.parts import parts_of
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import Run

CLASSES = ("angry", "sad", "happy")
EACH = 12  # utterances of a speaker


def scored_corpus(
    root: Path,
    *,
    speakers: int = 12,
    synthetic: bool = False,
    rated: bool = True,
    voted: bool = True,
    absent: str | None = None,
    audio: bool = True,
    name: str = "ravdess",
    classes: tuple[str, ...] = CLASSES,
    turns: int | None = None,
) -> Corpus:
    """Half of the speakers train, half are test1; audio files are silence.

    `absent` is a class without a test utterance. With `turns`, as many utterances after each other
    are a dialogue.
    """
    rng, n = np.random.default_rng(0), speakers * EACH
    split = np.repeat(["train", "test1"], n // 2)
    label = np.arange(n) % len(classes)
    consensus = np.array(classes, dtype=object)[label]
    consensus[(split == "test1") & (consensus == absent)] = "no_agreement"
    names = [f"utterance-{i:03d}.wav" for i in range(n)]
    plain = {
        "id": names,
        "audio": names,
        "seconds": rng.uniform(1, 6, n),
        "split": split,
        "speaker": [f"s{i // EACH:02d}" for i in range(n)],
        "gender": [("female", "male")[i // EACH % 2] for i in range(n)],
        "consensus": consensus,
        **{
            attribute: rng.uniform(1, 7, n) if rated else np.full(n, np.nan)
            for attribute in ("arousal", "valence", "dominance")
        },
        "transcript": [f"this is <b>number {i}</b>" for i in range(n)],
    }
    votes = np.zeros((n, len(classes) + 1), int)
    votes[np.arange(n), label] = 3
    votes[np.arange(n), rng.integers(0, len(classes), n)] += 2
    if audio:
        root.mkdir(parents=True, exist_ok=True)
        for file in names:
            soundfile.write(root / file, np.zeros(800, np.float32), 16_000)
    frame = assemble(plain, votes if voted else np.zeros_like(votes), np.zeros_like(votes), classes)
    if turns:
        frame["dialogue"] = [f"d{i // turns:02d}" for i in range(n)]
        frame["turn"] = np.arange(n) % turns
    return Corpus(frame=frame, classes=classes, root=root, name=name, synthetic=synthetic)


def scored_run(
    out: Path, *, members: int = 2, table: Corpus | None = None, **changes: Any
) -> Prepared:
    """The run's folder: corpus, members' predictions and logs, votes, meta-classifier and soup."""
    corpus = table or scored_corpus(out / "audio")
    raw = {
        "name": "scored",
        "about": "what a report is tested on",
        "corpus": {"source": "ravdess", "path": str(out / "audio"), "hold_out": 0.3},
        "features": {"logmel": {"extractor": "logmel"}},
        "members": [{"id": f"m{i}", "modalities": ["logmel"], "seed": i} for i in range(members)],
        "ensemble": {"epochs": 1, "seeds": 2},
    }
    run = Run(RunConfig.model_validate(merged(raw, changes)), out)
    with opened(run):
        corpus.save(run.corpus_file)
        keep_provenance(run, corpus=corpus.digest())
        prepared = Prepared(run, corpus, {}, parts_of(run, corpus))
        for fold in range(len(prepared.folds)):
            for i, member in enumerate(run.config.members):
                folder = run.member_folder(fold, member.id)
                drawn_outputs(corpus, i).save(folder / "outputs.parquet")
                lines = [
                    _EPOCH % (epoch, 1 + (epoch > 1), 2 - 0.25 * epoch, 0.2 * epoch + 0.01 * i)
                    for epoch in (1, 2)
                ]
                if corpus.conversational:
                    lines = [_watched(line, 0.5 + 0.1 * k) for k, line in enumerate(lines)]
                (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
        combine(prepared)
    return prepared


_EPOCH = '{"epoch": %d, "phase": "stage%d", "loss": %r, "selection_score": %r, "seconds": 2.0}\n'


def _watched(line: str, f1: float) -> str:
    """The epoch's line with scores on the test part."""
    scores = f', "test_weighted_f1": {f1}, "test_accuracy": {f1 + 0.01}'
    return line.replace("}\n", scores + "}\n")


def drawn_outputs(corpus: Corpus, seed: int) -> Predictions:
    """Logits that are right more often than not, and attributes between 1 and 7."""
    rng, n = np.random.default_rng(seed + 1), len(corpus)
    classes = len(corpus.classes)
    truth = np.eye(classes)[np.arange(n) % classes]
    logits = (rng.standard_normal((n, len(corpus.classes))) + 0.8 * truth).astype(np.float32)
    return Predictions(
        tuple(corpus.frame["id"]),
        corpus.classes,
        logits,
        rng.uniform(1, 7, (n, 3)).astype(np.float32),
    )
