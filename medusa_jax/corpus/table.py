"""The table of utterances of any corpus: its schema, checks and Parquet file.

One row an utterance; `c` stands for each of the corpus's own `classes`:

| column | type | meaning |
|---|---|---|
| `id` | str | unique; for MSP-Podcast the file name with `.wav` |
| `audio` | str | path of the audio file, relative to `root`, with `/` |
| `seconds` | float | length of the audio (NaN: not measured) |
| `split` | str | one of `SPLITS` |
| `speaker` | str or None | None: unknown |
| `gender` | str or None | `male`, `female`; None: unknown |
| `votes_c`, `votes_other` | int | raters who chose the class first |
| `secondary_c`, `secondary_other` | int | raters who named the class among the secondary emotions |
| `soft_c` | float | target distribution, sums to 1; all NaN: no class target |
| `soft_other` | float | the same, in the variant `with_other` only |
| `consensus` | str or None | a class, `other`, `no_agreement`; None: not labelled |
| `arousal`, `valence`, `dominance` | float | 1 to 7; NaN: not rated |
| `transcript` | str or None | None: no transcript; empty: no words |

A corpus of conversations has two columns more, and may have no audio (`audio` is then empty):

| column | type | meaning |
|---|---|---|
| `dialogue` | str | the conversation that the utterance is part of |
| `turn` | int | its place in the conversation, from 0; gaps are allowed |
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medusa_jax.errors import CorpusError
from medusa_jax.files import write_whole

SPLITS = ("train", "development", "test1", "test2", "test3")
GENDERS = ("female", "male")
ATTRIBUTES = ("arousal", "valence", "dominance")
OTHER, NO_AGREEMENT = "other", "no_agreement"

_PLAIN = (
    "id",
    "audio",
    "seconds",
    "split",
    "speaker",
    "gender",
    "consensus",
    *ATTRIBUTES,
    "transcript",
)


@dataclass(frozen=True)
class Corpus:
    """A table of utterances with its classes, folder and origin.

    `frame` has the columns above and a RangeIndex; `classes` fixes the order of every class axis
    made from it; `soft_labels` names the variant in the `soft_*` columns; `synthetic` marks
    generated speech wherever numbers are printed.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    root: Path
    name: str
    soft_labels: str = "primary"
    synthetic: bool = False

    def __post_init__(self) -> None:
        check_columns(self)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names along the target axis: the classes, and `other` in the variant `with_other`."""
        return (*self.classes, OTHER) if f"soft_{OTHER}" in self.frame.columns else self.classes

    @property
    def votes(self) -> np.ndarray:
        """Primary votes `[utterance, class]`, without `other`, int64."""
        return self.frame[[f"votes_{c}" for c in self.classes]].to_numpy(np.int64)

    @property
    def soft(self) -> np.ndarray:
        """Target distributions `[utterance, target]`, float32; a row of NaN has no class target."""
        return self.frame[[f"soft_{c}" for c in self.targets]].to_numpy(np.float32)

    @property
    def attributes(self) -> np.ndarray:
        """Arousal, valence, dominance `[utterance, 3]`, float32, NaN where not rated."""
        return self.frame[list(ATTRIBUTES)].to_numpy(np.float32)

    @property
    def labels(self) -> np.ndarray:
        """Index of the consensus class `[utterance]`, int64.

        −1 for other, no agreement and unlabelled utterances.
        """
        index = {name: i for i, name in enumerate(self.classes)}
        return self.frame["consensus"].map(index).fillna(-1).to_numpy(np.int64)

    @property
    def conversational(self) -> bool:
        """True if the utterances are turns of dialogues."""
        return "dialogue" in self.frame.columns

    def dialogues(self) -> dict[str, np.ndarray]:
        """Positions `[u]` of each dialogue's utterances in the order of their turns, by name.

        Raises `CorpusError` if the corpus has no dialogues.
        """
        if not self.conversational:
            raise CorpusError(
                "the corpus has no dialogues",
                where=f"corpus {self.name!r}",
                hint="choose a corpus of conversations, or another task for its members",
            )
        ordered = self.frame[["dialogue", "turn"]].sort_values("turn", kind="stable")
        found = ordered.groupby("dialogue", sort=False).indices
        rows = ordered.index.to_numpy()
        return {name: rows[found[name]] for name in self.frame["dialogue"].unique()}

    def where(self, mask: np.ndarray) -> Self:
        """The rows of `mask` (boolean `[utterance]`), in the same order."""
        return replace(self, frame=self.frame[np.asarray(mask)].reset_index(drop=True))

    def of_split(self, *splits: str) -> Self:
        """The rows of these splits."""
        return self.where(self.frame["split"].isin(splits).to_numpy())

    def audio_path(self, row: int) -> Path:
        """Path of the audio of row `row`."""
        return self.root / str(self.frame["audio"].iat[row])

    def digest(self) -> str:
        """SHA-256 over everything but `root`: equal tables have equal digests on every machine."""
        head = json.dumps(
            [self.name, self.classes, self.soft_labels, self.synthetic, list(self.frame.columns)]
        )
        rows = pd.util.hash_pandas_object(self.frame, index=False).to_numpy()
        return hashlib.sha256(head.encode() + rows.tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write `path` (Parquet) whole or not at all."""
        head = {
            "classes": self.classes,
            "root": str(self.root),
            "name": self.name,
            "soft_labels": self.soft_labels,
            "synthetic": self.synthetic,
        }
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        known = table.schema.metadata or {}
        table = table.replace_schema_metadata({**known, "medusa": json.dumps(head)})
        with write_whole(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """Read a file of `save`. Raises `CorpusError` if it is missing or another kind of file."""
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise CorpusError(
                f"not a readable corpus table: {error}",
                where=path,
                hint="build it again with `medusa corpus build`",
            ) from error
        meta = (table.schema.metadata or {}).get(b"medusa")
        if meta is None:
            raise CorpusError("not a corpus table, but another Parquet file", where=path)
        head = json.loads(meta)
        return cls(
            frame=table.to_pandas(),
            classes=tuple(head["classes"]),
            root=Path(head["root"]),
            name=head["name"],
            soft_labels=head["soft_labels"],
            synthetic=head["synthetic"],
        )


def columns_of(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Every required column for these classes, in the order of the schema."""
    counts = [f"{kind}_{c}" for kind in ("votes", "secondary") for c in (*classes, OTHER)]
    soft = [f"soft_{c}" for c in classes]
    return (*_PLAIN[:6], *counts, *soft, *_PLAIN[6:])


def check_columns(corpus: Corpus) -> None:
    """Raise `CorpusError` unless columns, values, ids and audio paths follow the schema."""
    where = f"corpus {corpus.name!r}"
    missing = [c for c in columns_of(corpus.classes) if c not in corpus.frame.columns]
    if missing:
        raise CorpusError(
            f"missing column(s): {', '.join(missing)}",
            where=where,
            hint="see medusa_jax/corpus/table.py for the schema",
        )
    _check_ids(corpus.frame["id"], where)
    _check_turns(corpus, where)
    _check_values(corpus, where)
    _check_paths(corpus.frame, where)
    _check_sums(corpus, where)


def _check_ids(ids: pd.Series, where: str) -> None:
    repeated = ids[ids.duplicated()]
    if len(repeated):
        what = f"{len(repeated)} duplicate utterance id(s), the first is {repeated.iloc[0]!r}"
        raise CorpusError(what, where=where, hint="remove the repeated rows")


def _check_turns(corpus: Corpus, where: str) -> None:
    """Each dialogue lies in one split, and each of its turns occurs once."""
    if not corpus.conversational:
        return
    frame = corpus.frame
    if "turn" not in frame.columns or frame["dialogue"].isna().any():
        raise CorpusError(
            "an utterance without a dialogue or a turn",
            where=where,
            hint="give each utterance both, or leave both columns out",
        )
    if not pd.api.types.is_integer_dtype(frame["turn"]) or (frame["turn"] < 0).any():
        raise CorpusError("turns are whole numbers from 0", where=where)
    repeated = frame[frame.duplicated(["dialogue", "turn"])]
    if len(repeated):
        place = f"{where}, dialogue {repeated['dialogue'].iat[0]}"
        raise CorpusError(f"turn {repeated['turn'].iat[0]} occurs twice", where=place)
    splits = frame.groupby("dialogue")["split"].nunique()
    if (splits > 1).any():
        raise CorpusError(
            "a dialogue is in two splits", where=f"{where}, dialogue {splits.idxmax()}"
        )


def _check_values(corpus: Corpus, where: str) -> None:
    """Every split, gender and consensus is one of the known names; only the split is required."""
    consensus = (*corpus.classes, OTHER, NO_AGREEMENT)
    names = {"split": SPLITS, "gender": GENDERS, "consensus": consensus}
    for column, allowed in names.items():
        values = corpus.frame[column]
        known = values.isin(allowed)
        known |= values.isna() if column != "split" else False
        if not known.all():
            bad = corpus.frame[~known].iloc[0]
            raise CorpusError(
                f"unknown {column} {bad[column]!r} (known: {', '.join(allowed)})",
                where=f"{where}, utterance {bad['id']}",
            )


def _check_paths(frame: pd.DataFrame, where: str) -> None:
    for identity, audio in zip(frame["id"], frame["audio"], strict=True):
        path = PurePosixPath(audio)
        if path.is_absolute() or ".." in path.parts or "\\" in audio:
            raise CorpusError(
                f"the audio path {audio!r} leaves the corpus folder",
                where=f"{where}, utterance {identity}",
                hint="use paths relative to the corpus folder",
            )


def _check_sums(corpus: Corpus, where: str) -> None:
    sums = np.nansum(corpus.soft, axis=1)
    bad = ~(np.isclose(sums, 1, atol=1e-3) | np.isnan(corpus.soft).all(axis=1))
    if bad.any():
        raise CorpusError(
            f"the soft label sums to {sums[bad][0]:.4f}, not 1",
            where=f"{where}, utterance {corpus.frame['id'][bad.argmax()]}",
        )
