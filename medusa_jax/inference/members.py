"""The members of a system and their ensemble: recordings in memory in, predictions out.

Legend: `m` member.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medusa_jax.audio.decode import RATE
from medusa_jax.batches.examples import Examples
from medusa_jax.config.ensemble import WEIGHTED
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.assembly import assemble
from medusa_jax.corpus.table import OTHER, Corpus
from medusa_jax.ensemble.ensemble_folder import Ensemble, load_ensemble
from medusa_jax.ensemble.predictions import Predictions
from medusa_jax.ensemble.variants import SOUP
from medusa_jax.errors import CheckpointError, ConfigError
from medusa_jax.inference.features import FeatureMaker, Listener, Spoken
from medusa_jax.inference.system import System, features_of
from medusa_jax.machines.mesh import devices_of
from medusa_jax.store.memory import MemoryStore
from medusa_jax.tasks.registry import data_of, examples_of, reading_of, task_of
from medusa_jax.training.member_folder import MemberFolder
from medusa_jax.training.prediction import Trained, predict_all


class Members:
    """Loaded once. `features` are their names, `rated`: a member learned attributes."""

    def __init__(self, system: System, use: str | None = None) -> None:
        self._ensemble, self.use = _chosen(system, use)
        ids = (self.use,) if self._ensemble is None else self._ensemble.record.members
        self._configs = tuple(one for one in system.config.members if one.id in ids)
        folders = [MemberFolder(system.member(one.id)) for one in self._configs]
        self._records = [folder.record() for folder in folders]
        config = system.config
        features = features_of(config, self._configs)
        extractors: dict[str, Any] = {}
        for record in self._records:
            extractors |= record["extractors"]
        self._makers = {
            name: FeatureMaker(name, feature, extractors[name]["identity"])
            for name, feature in features.items()
        }
        self.features = set(self._makers)
        heard = any(maker.reads == "text" for maker in self._makers.values())
        self._listener = _listener(config.transcription) if heard else None
        self.classes: tuple[str, ...] = tuple(self._records[0]["classes"])
        self._targets: tuple[str, ...] = tuple(self._records[0]["targets"])
        self.rated = any(one.training.attribute_loss > 0 for one in self._configs)
        blank = [Spoken("blank", np.zeros(RATE, np.float32), "")]
        self._trained = [
            folder.load(task) for folder, task in zip(folders, self._tasks(blank), strict=True)
        ]

    def predict(self, spoken: Sequence[Spoken]) -> Predictions:
        """Of the members, combined."""
        found: dict[str, Predictions] = {}
        ids = tuple(one.id for one in spoken)
        rows, stores = np.arange(len(spoken)), self._stores(spoken)
        for some, data in self._datasets(spoken, stores):
            tasks = [self._task(m, data) for m in some]
            trained = [
                Trained(task, self._trained[m].weights) for m, task in zip(some, tasks, strict=True)
            ]
            outputs = predict_all(trained, data, data.units(rows), devices_of(1))
            for m, output in zip(some, outputs, strict=True):
                own = data.by_utterance(output, rows)
                logits = own["logits"][:, : len(self.classes)]
                name = self._configs[m].id
                found[name] = Predictions(ids, self.classes, logits, own["attributes"])
        if self._ensemble is None:
            return found[self.use]
        return self._ensemble.combine(self.use, found)

    def _stores(self, spoken: Sequence[Spoken]) -> dict[str, MemoryStore]:
        if self._listener is not None:
            self._listener.hear(spoken)
        return {name: maker.store(spoken) for name, maker in self._makers.items()}

    def _tasks(self, spoken: Sequence[Spoken]) -> list[Any]:
        """A task for each member, whatever the recordings."""
        found: dict[int, Any] = {}
        blank = {name: maker.blank(spoken) for name, maker in self._makers.items()}
        for some, data in self._datasets(spoken, blank):
            found |= {m: self._task(m, data) for m in some}
        return [found[m] for m in range(len(self._configs))]

    def _task(self, m: int, data: Any) -> Any:
        return task_of(self._configs[m], data, self._records[m]["extractors"], 0)

    def _datasets(
        self, spoken: Sequence[Spoken], stores: Mapping[str, MemoryStore]
    ) -> list[tuple[list[int], Any]]:
        """The recordings as members read them, with the places of those that read alike."""
        corpus = self._corpus(spoken)
        widths = {name: store.width for name, store in stores.items()}
        groups: dict[Any, list[int]] = {}
        for m, config in enumerate(self._configs):
            groups.setdefault(reading_of(config, widths), []).append(m)
        nothing, found = np.empty(0, int), []
        for reading, some in groups.items():
            names = list(stores)
            own = examples_of(corpus, names, stores, reading).on_grid()
            whole = None
            if reading.whole:
                uncut = examples_of(corpus, names, stores, reading._replace(crops=()))
                assert isinstance(uncut, Examples), "dialogues are never cropped"
                whole = uncut.on_grid()
            data = data_of(self._configs[some[0]], own, nothing, nothing, 0, whole)
            found.append((some, data))
        return found

    def _corpus(self, spoken: Sequence[Spoken]) -> Corpus:
        """A table of the recordings, without labels."""
        count = len(spoken)
        nothing: list[None] = [None] * count
        plain: dict[str, Any] = {
            "id": [one.id for one in spoken],
            "audio": [""] * count,
            "split": ["test1"] * count,
            "speaker": [one.speaker for one in spoken],
            "gender": nothing,
            "consensus": nothing,
            "transcript": [one.transcript for one in spoken],
            "dialogue": [one.dialogue or one.id for one in spoken],
            "turn": list(range(count)),
        }
        votes = np.zeros((count, len(self.classes) + 1), int)
        variant = "with_other" if OTHER in self._targets else "primary"
        frame = assemble(plain, votes, votes, self.classes, variant)
        return Corpus(frame, self.classes, Path("nowhere"), "new", variant)


def _chosen(system: System, use: str | None) -> tuple[Ensemble | None, str]:
    """The ensemble with the name of one of its systems, or None with a member's id.

    Raises `ConfigError` for an unknown name, `CheckpointError` if there is no ensemble, or it is
    of other members.
    """
    ids = [member.id for member in system.config.members]
    if use in ids:
        return None, use
    if not system.combined:
        if use is None and len(ids) == 1:
            return None, ids[0]
        raise CheckpointError(
            "the members were never combined",
            where=system.ensemble,
            hint=f"run `medusa ensemble`, or choose a member: {', '.join(ids)}",
        )
    ensemble = load_ensemble(system.ensemble)
    record = ensemble.record
    use = use or (WEIGHTED if record.kind == "weighted" else SOUP)
    if use not in record.systems:
        raise ConfigError(
            f"there is no system or member {use!r}",
            where=system.ensemble,
            hint=f"choose one of {', '.join((*record.systems, *ids))}",
        )
    for name, digest in zip(record.members, record.member_digests, strict=True):
        if digest not in (None, MemberFolder(system.member(name)).record()["weights"]):
            raise CheckpointError(
                f"member {name} is not the one that was combined",
                where=system.member(name),
                hint="run `medusa ensemble` again, and export the system again",
            )
    return ensemble, use


def _listener(config: TranscriptionConfig | None) -> Listener | None:
    """The run's speech recognition; None where its words came with the corpus."""
    return None if config is None or config.backend == "corpus" else Listener(config)
