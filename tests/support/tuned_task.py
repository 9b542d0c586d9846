"""A tiny fine-tuning, through real audio and real stores: emotions told apart by their pitch; and a
command that trains a group on it.
"""

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import jax
import numpy as np
import soundfile

from medusa_jax.batches.examples import Batch, gather
from medusa_jax.config.features import HashedTextConfig, HuggingFaceConfig, WaveformConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import Corpus
from medusa_jax.features.extract import extract
from medusa_jax.files import digest_of
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.registry import reading_of, task_of
from medusa_jax.tasks.utterances import Utterances, utterances_of
from medusa_jax.training.loop import train
from medusa_jax.training.members import Member

CLASSES, RATE, COUNT = ("angry", "happy", "sad"), 16_000, 24
GENDERS = ("female", "male", None)
LONGEST = 3840  # samples
HELD_OUT = np.arange(COUNT) % 4 == 3


def tuned_corpus(root: Path) -> Corpus:
    """Short sounds below `root`, each class with a pitch of its own; a third without a gender, a
    third without secondary emotions, a sixth without ratings.
    """
    rng = np.random.default_rng(0)
    classes = np.arange(COUNT) % 3
    root.mkdir(parents=True, exist_ok=True)
    ids = [f"u{i:02d}.wav" for i in range(COUNT)]
    for name, c in zip(ids, classes, strict=True):
        n = np.arange(rng.integers(LONGEST // 4, LONGEST))
        tone = np.sin(2 * np.pi * (200, 700, 2000)[c] * n / RATE)
        wave = 0.3 * tone + 0.1 * rng.standard_normal(len(n))
        soundfile.write(root / name, wave.astype(np.float32), RATE, subtype="FLOAT")
    votes = np.zeros((COUNT, 4), int)
    votes[np.arange(COUNT), classes] = 3
    votes[:, 3] = rng.integers(0, 2, COUNT)
    ratings = np.where(np.arange(COUNT) % 6 == 1, np.nan, classes * 2.0 + 2)
    plain = {
        "id": ids,
        "audio": ids,
        "split": ["train"] * COUNT,
        "speaker": [str(i % 4) for i in range(COUNT)],
        "gender": [GENDERS[i] for i in rng.integers(0, 3, COUNT)],
        "consensus": [CLASSES[c] for c in classes],
        **{name: ratings for name in ("arousal", "valence", "dominance")},
        "transcript": [f"word {i % 5}" for i in range(COUNT)],
    }
    named = rng.integers(0, 3, votes.shape) * (np.arange(COUNT) % 3 > 0)[:, None]
    frame = assemble(plain, votes, named, CLASSES)
    return Corpus(frame, CLASSES, root, "tuned")


def tuned_stores(root: Path, model: Path | None = None) -> tuple[Corpus, dict[str, FeatureStore]]:
    """The corpus with its samples, the frames of a model's convolutions and its words, made below
    `root` unless that was done before.
    """
    corpus = tuned_corpus(root / "audio")
    configs: dict[str, Any] = {
        "wave": WaveformConfig(dtype="float32"),
        "half": WaveformConfig(),
        "text": HashedTextConfig(width=16),
    }
    if model is not None:
        settings = {"backend": "flax", "layers": "conv"}
        configs["conv"] = HuggingFaceConfig(model=f"hf:{model}", **settings)
    return corpus, {name: extract(corpus, one, root / name) for name, one in configs.items()}


def tuned_member(model: Path, name: str = "tuned", wave: str = "wave", **changes: Any):
    """A member that fine-tunes the model of a folder; `changes` are of its sections, and `seed`."""
    training = {
        "batch_size": 8,
        "shapes": 1,
        "stage1": {"epochs": 2, "learning_rate": 1e-3},
        "stage2": {"epochs": 0},
        **changes.pop("training", {}),
    }
    tuning = {
        "backbones": {wave: f"hf:{model}"},
        "crop_seconds": 0.15,
        "width": 8,
        **changes.pop("finetuning", {}),
    }
    return MemberConfig.model_validate(
        {
            "id": name,
            "task": "finetuning",
            "modalities": changes.pop("modalities", (wave,)),
            "model": {},
            "training": training,
            "finetuning": tuning,
            **changes,
        }
    )


def tuned_data(corpus: Corpus, stores, config: MemberConfig, seed: int = 0) -> Utterances:
    """The dataset of a member, every fourth utterance held out."""
    names = config.modalities
    reading = reading_of(config, {name: store.width for name, store in stores.items()})
    crops, secondary = dict(reading.crops), reading.secondary
    own = gather(corpus, names, stores, reading.shapes, crops, secondary)
    whole = gather(corpus, names, stores, reading.shapes) if reading.whole else None
    fit, held_out = np.flatnonzero(~HELD_OUT), np.flatnonzero(HELD_OUT)
    return utterances_of(config.training, config.seed, own, fit, held_out, seed, whole)


def tuned_members(configs, data: Utterances, seed: int = 0) -> list[Member]:
    """Members as `runs.training_plan` makes them."""
    found = []
    for config in configs:
        own = config.model_dump(mode="json")
        digest = digest_of([config.model_dump(mode="json", exclude={"id"}), seed, data.digest])
        task = task_of(config, data, {}, seed)
        found.append(Member(config.id, task, (seed, config.seed), digest, own))
    return found


def tuned_group(model: Path) -> list[MemberConfig]:
    """Two of equal structure that differ in seed, rate and MixUp, with the published noise, and one
    with low-rank parts.
    """
    stages = {name: {"epochs": 2, "learning_rate": 3e-3} for name in ("stage1", "stage2")}
    other = {**stages, "mixup_probability": 0.0, "clip": 0.5}
    tuning = {"gender": "sum", "unfreeze_epochs": 1.0}
    return [
        tuned_member(model, "first", finetuning=tuning, training={**stages, "clip": 1.0}),
        tuned_member(model, "second", finetuning=tuning, training=other, seed=5),
        tuned_member(model, "ranked", finetuning={"lora": 2, "gender_loss": 0.5}, seed=3),
    ]


def tuned_train(configs, corpus: Corpus, stores, folder: Path, seed: int = 0, **options) -> None:
    """Train members of one stream."""
    data = tuned_data(corpus, stores, configs[0], seed)
    train(tuned_members(configs, data, seed), data, folder, **options)


def tuned_batch(corpus: Corpus, stores, config: MemberConfig, rows) -> Batch:
    """A batch of these utterances, as in evaluation."""
    return tuned_data(corpus, stores, config).batch(np.asarray(rows))


def _run(model: Path, root: Path, folder: Path, kill_at: int, minutes: float) -> None:
    """Train the group's first member, killed at so many steps; in a forked process."""
    from medusa_jax.config.training import EngineConfig

    jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

    def report(done: int, total: int, note: str = "") -> None:
        if done >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = EngineConfig(save_minutes=minutes)
    tuned_train(tuned_group(model)[:1], *tuned_stores(root), folder, engine=engine, report=report)


if __name__ == "__main__":
    # one process for each STEP:MINUTES, forked before JAX has begun: modules are imported once
    for order in sys.argv[4:]:
        process = os.fork()
        if not process:
            code = 1
            try:
                step, minutes = order.split(":")
                _run(*map(Path, sys.argv[1:4]), int(step), float(minutes))
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
