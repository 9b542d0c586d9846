"""Small conversations, through real stores: an emotion follows from a turn's words and from those
of the turn before; and a command that trains a group on them.
"""

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medusa_jax.config.features import HashedTextConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import NO_AGREEMENT, Corpus
from medusa_jax.features.extract import extract
from medusa_jax.files import digest_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.registry import data_of, examples_of, moments_of, reading_of, task_of
from medusa_jax.training.loop import train
from medusa_jax.training.members import Member

CLASSES = ("angry", "happy", "sad")
WORDS = (("hate", "stop"), ("love", "great"), ("gone", "tears"))
WIDTHS = {"words": 24, "letters": 16}
DIALOGUES, LONGEST = 20, 7
SILENT = 9  # this utterance has no words, so the stream has none either
HELD_OUT, TEST = (3, 7, 11, 15), (4, 12)


def dialogue_corpus() -> Corpus:
    """Dialogues of 2 to 7 turns by 2 or 3 speakers; a turn in eight without consensus, rows not in
    the order of turns.
    """
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(DIALOGUES):
        before = 0
        split = "test1" if number in TEST else "train"
        for turn in range(rng.integers(2, LONGEST + 1)):
            shown = int(rng.integers(0, 3))
            rows.append(
                {
                    "dialogue": f"d{number:02d}",
                    "turn": 2 * turn,
                    "split": split,
                    "speaker": f"{number}-{rng.integers(0, 2 + number % 2)}",
                    "transcript": " ".join(rng.permutation([*WORDS[shown], "the"])),
                    "class": (shown + before) % 3,
                }
            )
            before = shown
    order = rng.permutation(len(rows))
    rows = [rows[place] for place in order]
    rows[SILENT]["transcript"] = None
    return _table(rows)


def _table(rows: list[dict[str, Any]]) -> Corpus:
    count = len(rows)
    classes = np.array([row["class"] for row in rows])
    votes = np.zeros((count, 4), int)
    votes[np.arange(count), classes] = 3
    consensus: list[str | None] = [CLASSES[c] for c in classes]
    for row in range(5, count, 8):
        votes[row], consensus[row] = [1, 1, 1, 2], NO_AGREEMENT
    plain = {
        "id": [f"u{i:03d}" for i in range(count)],
        "audio": [""] * count,
        "gender": [None] * count,
        "consensus": consensus,
        **{name: [row[name] for row in rows] for name in ("split", "speaker", "transcript")},
        **{name: classes * 2.0 + 2 for name in ("arousal", "valence", "dominance")},
    }
    frame = assemble(plain, votes, np.zeros_like(votes), CLASSES)
    turns = {name: [row[name] for row in rows] for name in ("dialogue", "turn")}
    return Corpus(frame.assign(**turns), CLASSES, Path("nowhere"), "talk")


def dialogue_stores(root: Path) -> tuple[Corpus, dict[str, FeatureStore]]:
    """The corpus with two streams of its words, made below `root` unless that was done before."""
    corpus, made = dialogue_corpus(), {}
    for name, width in WIDTHS.items():
        config = HashedTextConfig(width=width, dtype="float32")
        made[name] = extract(corpus, config, root / name, max_failures=0.05)
    return corpus, made


def dialogue_member(name: str = "talk", **changes: Any) -> MemberConfig:
    """A tiny SUMMER; `changes` are of its sections, and `modalities` and `seed`."""
    training = {
        "batch_size": 4,
        "shapes": 2,
        "weight_decay": 0,
        "stage1": {"epochs": 2, "learning_rate": 1e-2},
        "stage2": {"epochs": 2, "learning_rate": 1e-2},
        **changes.pop("training", {}),
    }
    own = {"width": 16, "heads": 2, "experts": 3, **changes.pop("conversation", {})}
    return MemberConfig.model_validate(
        {
            "id": name,
            "task": "conversation",
            "modalities": changes.pop("modalities", tuple(WIDTHS)),
            "model": {},
            "training": training,
            "conversation": own,
            **changes,
        }
    )


def dialogue_rows(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Utterances to fit on, and held out."""
    number = corpus.frame["dialogue"].str[1:].astype(int)
    held, test = number.isin(HELD_OUT), number.isin(TEST)
    return np.flatnonzero(~held & ~test), np.flatnonzero(held)


def dialogue_data(corpus: Corpus, stores, config: MemberConfig, seed: int = 0) -> Dialogues:
    """The dataset of a member."""
    names = [name for name in WIDTHS if name in config.modalities]
    widths = {name: store.width for name, store in stores.items()}
    examples = examples_of(corpus, names, stores, reading_of(config, widths))
    found = data_of(config, examples, *dialogue_rows(corpus), seed)
    assert isinstance(found, Dialogues)
    return found


def dialogue_members(configs, data: Dialogues, seed: int = 0) -> list[Member]:
    """Members as `runs.training_plan` makes them."""
    found = []
    moments = moments_of(list(configs), data.examples, data.fit)
    for config in configs:
        own = config.model_dump(mode="json")
        digest = digest_of([config.model_dump(mode="json", exclude={"id"}), seed, data.digest])
        task = task_of(config, data, {}, seed, moments)
        found.append(Member(config.id, task, (seed, config.seed), digest, own))
    return found


def dialogue_group() -> list[MemberConfig]:
    """Two of equal structure that differ in seed, rate and losses, and a causal one with a clip."""
    stages = {name: {"epochs": 2, "learning_rate": 2e-2} for name in ("stage1", "stage2")}
    causal = {"context": "past", "routing": "top_k", "feature_loss": 0.5}
    return [
        dialogue_member("first"),
        dialogue_member("second", training=stages, seed=5),
        dialogue_member("causal", conversation=causal, training={"clip": 1.0}, seed=3),
    ]


def dialogue_train(configs, corpus: Corpus, stores, folder: Path, seed: int = 0, **options) -> None:
    """Train members of one stream."""
    data = dialogue_data(corpus, stores, configs[0], seed)
    train(dialogue_members(configs, data, seed), data, folder, **options)


def _run(root: Path, folder: Path, kill_at: int, minutes: float) -> None:
    """Train the group's first member, killed at so many steps; in a forked process."""
    from medusa_jax.config.training import EngineConfig

    jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

    def report(done: int, total: int, note: str = "") -> None:
        if done >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = EngineConfig(save_minutes=minutes)
    given = dialogue_stores(root)
    dialogue_train(dialogue_group()[:1], *given, folder, engine=engine, report=report)


if __name__ == "__main__":
    # one process for each STEP:MINUTES, forked before JAX has begun: modules are imported once
    for order in sys.argv[3:]:
        process = os.fork()
        if not process:
            code = 1
            try:
                step, minutes = order.split(":")
                _run(Path(sys.argv[1]), Path(sys.argv[2]), int(step), float(minutes))
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
