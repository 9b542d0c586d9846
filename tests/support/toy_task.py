"""A task that is learned in seconds: three emotions told apart by their words, through real stores;
and a command that trains a group on it.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medusa_jax.batches.examples import Examples, gather
from medusa_jax.config.features import HashedTextConfig
from medusa_jax.config.model import ModelConfig
from medusa_jax.config.training import MemberConfig, StageConfig, TrainingConfig
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import NO_AGREEMENT, Corpus
from medusa_jax.features.extract import extract
from medusa_jax.files import digest_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.registry import moments_of, task_of
from medusa_jax.tasks.utterances import utterances_of
from medusa_jax.training import checkpoint
from medusa_jax.training.loop import train
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.members import Member
from medusa_jax.training.prediction import Trained

CLASSES = ("angry", "happy", "sad")
WORDS = (("hate", "stop", "furious"), ("love", "great", "sunny"), ("gone", "lonely", "tears"))
FILLERS = ("the", "a", "and", "then", "we", "it", "was", "there")
WIDTHS = {"words": 32, "letters": 16}
COUNT, SILENT = 96, 5  # utterance 5 has no transcript, so its extraction fails


def toy_corpus() -> Corpus:
    """Most are of the first class; one in eight without consensus, one in six without ratings, one
    missing transcript.
    """
    rng = np.random.default_rng(0)
    classes = rng.choice(3, COUNT, p=[0.6, 0.2, 0.2])
    votes = np.zeros((COUNT, 4), int)
    votes[np.arange(COUNT), classes] = 4
    votes[:, 3] = rng.integers(0, 2, COUNT)
    consensus: list[str | None] = [CLASSES[c] for c in classes]
    for row in range(0, COUNT, 8):
        votes[row], consensus[row] = [1, 1, 1, 2], NO_AGREEMENT
    texts: list[str | None] = []
    for c in classes:
        words = [*rng.choice(WORDS[c], 2), *rng.choice(FILLERS, rng.integers(0, 6))]
        texts.append(" ".join(rng.permutation(words)))
    texts[SILENT] = None
    ratings = np.where(np.arange(COUNT) % 6 == 1, np.nan, classes * 2.0 + 2)
    ids = [f"u{i:02d}.wav" for i in range(COUNT)]
    plain = {
        "id": ids,
        "audio": ids,
        "seconds": [1.0] * COUNT,
        "split": ["train"] * COUNT,
        "speaker": [str(i % 4) for i in range(COUNT)],
        "gender": [None] * COUNT,
        "consensus": consensus,
        **{name: ratings for name in ("arousal", "valence", "dominance")},
        "transcript": texts,
    }
    return Corpus(
        assemble(plain, votes, np.zeros_like(votes), CLASSES), CLASSES, Path("nowhere"), "toy"
    )


def toy_examples(stores: Path) -> Examples:
    """The corpus with two modalities, extracted below `stores` unless that was done before."""
    corpus = toy_corpus()
    made: dict[str, FeatureStore] = {}
    for name, width in WIDTHS.items():
        made[name] = extract(
            corpus, HashedTextConfig(width=width), stores / name, max_failures=0.05, shard_rows=40
        )
    return gather(corpus, tuple(WIDTHS), made, shapes=1)


def toy_data(examples: Examples, config: MemberConfig, fit=None, held_out=None, seed=0):
    """The dataset of a toy member, by default on `toy_parts`."""
    parts = toy_parts()
    fit = parts[0] if fit is None else fit
    held_out = parts[1] if held_out is None else held_out
    return utterances_of(config.training, config.seed, examples, fit, held_out, seed)


def toy_members(configs, data, seed: int = 0) -> list[Member]:
    """Members as `runs.training_plan` makes them."""
    moments = moments_of(list(configs), data.examples, data.fit)
    members = []
    for config in configs:
        task = task_of(config, data, {}, seed, moments)
        digest = digest_of([config.model_dump(mode="json", exclude={"id"}), seed, data.digest])
        own = config.model_dump(mode="json")
        members.append(Member(config.id, task, (seed, config.seed), digest, own))
    return members


def toy_train(configs, examples, fit, held_out, folder, *, seed=0, **options) -> list[Trained]:
    """Train members of one stream, and load each as it was at its best."""
    data = toy_data(examples, configs[0], fit, held_out, seed)
    members = toy_members(configs, data, seed)
    train(members, data, folder, **options)
    places = {one.id: MemberFolder(folder / "members" / one.id) for one in members}
    return [places[one.id].load(one.task, one.digest) for one in members]


def toy_parts() -> tuple[np.ndarray, np.ndarray]:
    """Positions to fit on, and held out."""
    held_out = np.arange(COUNT) % 4 == 3
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def toy_member(
    seed: int = 0, stage1: int = 3, stage2: int = 3, learning_rate: float = 1e-2, **training: object
) -> MemberConfig:
    """A tiny DeepSER with everything on but fusion: two modalities, dropout, MixUp, standardised
    and stacked frames.
    """
    model = ModelConfig(
        hidden=8, feedforward=8, layers=1, fusion="late", stack={"letters": 2}, standardise=True
    )
    stages = {
        name: StageConfig(epochs=epochs, learning_rate=learning_rate)
        for name, epochs in (("stage1", stage1), ("stage2", stage2))
    }
    settings = TrainingConfig(batch_size=16, shapes=1, **stages, **training)
    return MemberConfig(
        id="toy", modalities=tuple(WIDTHS), seed=seed, model=model, training=settings
    )


def toy_group(**changes: object) -> list[MemberConfig]:
    """Two members of equal structure that differ in every setting that may, and one of another;
    they stop at different epochs.
    """
    plain = {
        "stage1": StageConfig(epochs=2, learning_rate=1e-2),
        "stage2": StageConfig(epochs=3, learning_rate=1e-2),
    }
    first = {**plain, "clip": 1.0, "ema": 0.5, **changes}
    second = {
        **first,
        "stage2": StageConfig(epochs=1, learning_rate=3e-3, schedule="cosine", warmup=1),
        "mixup_probability": 0.0,
        "attribute_loss": 0.0,
    }
    second |= {
        "targets": "one_hot",
        "mixup_alpha": 1.0,
        "class_loss": 1.0,
        "weight_decay": 0.1,
        "clip": 0.5,
        "ema": 0.9,
    }
    words = toy_member(2).model_copy(
        update={
            "id": "words",
            "modalities": ("words",),
            "training": TrainingConfig(batch_size=16, shapes=1, **plain),
        }
    )
    alike = [
        toy_member(seed).model_copy(update={"id": name})
        for seed, name in enumerate(("first", "second"))
    ]
    settings = [TrainingConfig(batch_size=16, shapes=1, **some) for some in (first, second)]
    return [
        *(
            one.model_copy(update={"training": own})
            for one, own in zip(alike, settings, strict=True)
        ),
        words,
    ]


MEASURED = {"seconds", "steps_per_second", "input_wait", "compilations"}


def toy_metrics(folder: Path, member: str = "toy", measured: bool = False) -> list[dict[str, Any]]:
    """Lines of a member's metrics.jsonl, without what a clock or a compiler measured."""
    lines = [
        json.loads(line)
        for line in (folder / "members" / member / "metrics.jsonl").read_text().splitlines()
    ]
    return [
        {name: value for name, value in line.items() if measured or name not in MEASURED}
        for line in lines
    ]


def bits_of(folder: Path, kind: str) -> Any:
    """A checkpoint's arrays and what is said about it, to the bit."""
    found = checkpoint.restore(folder, kind)
    assert found is not None
    return found[1], {
        jax.tree_util.keystr(path): leaf.tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(found[0])
    }


def outcome_of(folder: Path, member: str) -> Any:
    """All that a member's training leaves behind, to the bit."""
    own = folder / "members" / member
    return (
        toy_metrics(folder, member),
        (own / "member.json").read_text(),
        bits_of(own / "checkpoints", "best"),
    )


def _run(stores: Path, folder: Path, minutes: float, killed: Callable[[int], None]) -> None:
    """Train the group; `killed` is told the steps done."""
    from medusa_jax.config.training import EngineConfig
    from medusa_jax.errors import MedusaError

    jax.config.update("jax_compilation_cache_dir", str(stores / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

    def report(done: int, total: int, note: str = "") -> None:
        killed(done)

    try:
        toy_train(
            toy_group(),
            toy_examples(stores),
            *toy_parts(),
            folder,
            engine=EngineConfig(save_minutes=minutes),
            report=report,
        )
    except MedusaError as stop:
        print(stop, file=sys.stderr, flush=True)
        os._exit(stop.exit_code)  # as the command does: XLA may be at work still


def _killed(stores: Path, folder: Path, order: str) -> int:
    """The end of a forked process that is killed so many seconds after a step: STEP:MINUTES:AFTER.

    Forked before JAX has begun, so that modules are imported once for all orders.
    """
    step, minutes, after = map(float, order.split(":"))
    told, tell = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            _run(stores, folder, minutes, lambda done: _reached(done >= step, after, tell))
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    os.close(tell)
    if os.read(told, 1):
        time.sleep(after)
        os.kill(process, signal.SIGKILL)
    os.close(told)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _reached(there: bool, after: float, tell: int) -> None:
    """Die here, or let the parent kill this process whatever it is doing then."""
    if there and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    elif there:
        os.write(tell, b".")


if __name__ == "__main__":
    if ":" in sys.argv[3]:
        for order in sys.argv[3:]:
            print(_killed(Path(sys.argv[1]), Path(sys.argv[2]), order), flush=True)
        sys.exit()
    # no file may grow beyond so many bytes: the system refuses the write, as a full disk does
    if len(sys.argv) > 4:
        import resource

        resource.setrlimit(
            resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )
    _run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), lambda done: None)
