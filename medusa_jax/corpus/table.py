"""One table of utterances, whatever the corpus: the schema, its checks, and its Parquet file.

One row an utterance. `c` runs over the corpus's own `classes` (MSP-Podcast's eight, RAVDESS's eight, …):

| column | type | meaning |
|---|---|---|
| `id` | str | unique; for MSP-Podcast the file name as its label files write it, `.wav` included |
| `audio` | str | path of the audio file, relative to `root`, with `/` |
| `seconds` | float | length of the audio (NaN: not measured) |
| `split` | str | one of `SPLITS` |
| `speaker` | str or None | None: unknown |
| `gender` | str or None | `male`, `female`; None: unknown |
| `votes_c`, `votes_other` | int | raters who chose the class first |
| `secondary_c`, `secondary_other` | int | raters who named the class among the secondary emotions |
| `soft_c` (and `soft_other` in the variant `with_other`) | float | the target distribution, sums to 1; NaN in all: no class target |
| `consensus` | str or None | a class, `other`, `no_agreement`; None: not labelled |
| `arousal`, `valence`, `dominance` | float | 1 to 7; NaN: not rated |
| `transcript` | str or None | None: no transcript; the empty string: nothing was said |
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
    """A table of utterances with what a reader must know about it.

    `frame` has the columns above in a RangeIndex; `classes` fixes the order of every class axis made from it;
    `soft_labels` names the variant in the `soft_*` columns; `synthetic` is true for generated speech and follows the
    numbers wherever they are printed.
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
        """Names along the target axis: the classes, and `other` in the nine-bucket variant."""
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
        """Index of the consensus class `[utterance]`, int64; −1 where there is none (other, no agreement, unlabelled)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return self.frame["consensus"].map(index).fillna(-1).to_numpy(np.int64)

    def where(self, mask: np.ndarray) -> Self:
        """The rows of `mask` (boolean `[utterance]`), in the same order."""
        return replace(self, frame=self.frame[np.asarray(mask)].reset_index(drop=True))

    def of_split(self, *splits: str) -> Self:
        """The rows of these splits."""
        return self.where(self.frame["split"].isin(splits).to_numpy())

    def audio_path(self, row: int) -> Path:
        """Where row `row`'s audio lies."""
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
        meta = {
            "medusa": json.dumps(
                {
                    "classes": self.classes,
                    "root": str(self.root),
                    "name": self.name,
                    "soft_labels": self.soft_labels,
                    "synthetic": self.synthetic,
                }
            )
        }
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **meta})
        with write_whole(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: Path) -> "Corpus":
        """Read what `save` wrote. Raises `CorpusError` if it is missing or not such a file."""
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
            raise CorpusError("this Parquet file is not a corpus table of this project", where=path)
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
    """Raise `CorpusError` unless `corpus.frame` follows the schema: columns, values, unique ids, paths inside `root`."""
    frame, where = corpus.frame, f"corpus {corpus.name!r}"
    missing = [c for c in columns_of(corpus.classes) if c not in frame.columns]
    if missing:
        raise CorpusError(
            f"the table lacks the column(s) {', '.join(missing)}",
            where=where,
            hint="see medusa_jax/corpus/table.py for the schema",
        )
    repeated = frame["id"][frame["id"].duplicated()]
    if len(repeated):
        what = f"{len(repeated)} utterance id(s) stand twice, the first is {repeated.iloc[0]!r}"
        raise CorpusError(what, where=where, hint="remove the repeated rows")
    for column, allowed in (
        ("split", SPLITS),
        ("gender", GENDERS),
        ("consensus", (*corpus.classes, OTHER, NO_AGREEMENT)),
    ):
        known = frame[column].isin(allowed) | (frame[column].isna() if column != "split" else False)
        if not known.all():
            bad = frame[~known].iloc[0]
            raise CorpusError(
                f"unknown {column} {bad[column]!r} (known: {', '.join(allowed)})",
                where=f"{where}, utterance {bad['id']}",
            )
    for identity, audio in zip(frame["id"], frame["audio"], strict=True):
        path = PurePosixPath(audio)
        if path.is_absolute() or ".." in path.parts or "\\" in audio:
            hint = "use paths relative to the corpus folder"
            raise CorpusError(
                f"the audio path {audio!r} leaves the corpus folder",
                where=f"{where}, utterance {identity}",
                hint=hint,
            )
    sums = np.nansum(corpus.soft, axis=1)
    bad_sum = ~(np.isclose(sums, 1, atol=1e-3) | np.isnan(corpus.soft).all(axis=1))
    if bad_sum.any():
        raise CorpusError(
            f"the soft label sums to {sums[bad_sum][0]:.4f}, not 1",
            where=f"{where}, utterance {frame['id'][bad_sum.argmax()]}",
        )
