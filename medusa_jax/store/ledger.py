"""The ledger of a feature store: the plan in `store.json`, one `shard-00000.json` per shard, lists.

No file is shared by all shards, so several processes can write shards in any order, and a finished
store needs no merging. Each file carries a digest of its own content, and an entry names its plan.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medusa_jax.errors import StoreError
from medusa_jax.files import digest_of, write_text

PLAN, FAILURES, WARNINGS = "store.json", "failures.jsonl", "warnings.jsonl"
REDO = (
    "run the command that makes it (`medusa extract`, `medusa transcribe`) again: "
    "it redoes only damaged and missing shards"
)


class _Sealed(BaseModel):
    """A JSON file with a digest of its own content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest(self) -> str:
        """Return the hex SHA-256 of the content."""
        return digest_of(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write `path` whole or not at all."""
        content = {**self.model_dump(mode="json"), "digest": self.digest()}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved file. Raises `StoreError` naming it if it is missing or was changed."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            digest = raw.pop("digest", None)
            content = cls.model_validate(raw)
        except FileNotFoundError as error:
            raise StoreError(
                f"the feature store is unfinished: {path.name} is missing",
                where=path.parent,
                hint=REDO,
            ) from error
        except (OSError, ValueError, AttributeError, TypeError, ValidationError) as error:
            raise StoreError(
                f"{path.name} is damaged: it cannot be read", where=path, hint=REDO
            ) from error
        if digest != content.digest():
            raise StoreError(
                f"{path.name} is damaged: its content does not match its digest",
                where=path,
                hint=REDO,
            )
        return content


class Plan(_Sealed):
    """The contents of the finished store; written first, the same by every process."""

    format: Literal[1] = 1
    extractor: dict[str, object] = Field(description="the extractor's identity")
    corpus: str = Field(description="name of the corpus")
    inputs: str = Field(description="digest of the ids and of the audio paths or transcripts")
    width: int = Field(ge=1, description="features of a frame")
    dtype: Literal["float16", "float32", "int8", "uint8"]
    made_from: str | None = Field(
        None,
        description="digest of the store these frames were converted from; none: extracted",
    )
    utterances: int = Field(ge=1, description="wanted, including failed ones")
    shard_rows: int = Field(ge=1, description="utterances per shard; the last may hold fewer")

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.utterances // self.shard_rows)

    def rows(self, shard: int) -> range:
        """Return the positions in the corpus of shard number `shard`."""
        return range(shard * self.shard_rows, min(self.utterances, (shard + 1) * self.shard_rows))


class Failure(BaseModel):
    """An utterance without features: a row of `failures.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    audio: str
    error: str = Field(description="class of the error")
    message: str


class Warned(BaseModel):
    """An utterance with features whose audio deserves a check: a row of `warnings.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    warnings: tuple[str, ...]


class Entry(_Sealed):
    """The description of a finished shard, written after the shard itself."""

    plan: str = Field(description="digest of the plan")
    shard: int = Field(ge=0)
    size: int = Field(ge=0, description="bytes")
    sha256: str
    ids: tuple[str, ...]
    lengths: tuple[int, ...] = Field(description="frames, in the order of ids")
    failed: tuple[Failure, ...] = ()
    warned: tuple[Warned, ...] = ()
    clipped: int = Field(0, ge=0, description="values clipped to the dtype's range")
    made_with: dict[str, str] = Field(
        default_factory=dict, description="versions of the packages that computed it"
    )


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard."""
    return folder / f"shard-{shard:05d}.arrow"


def entry_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard's entry."""
    return folder / f"shard-{shard:05d}.json"


def read_entry(folder: Path, plan: Plan, shard: int) -> Entry:
    """Read the entry of a shard and check that the shard's file has its full length.

    Raises `StoreError` naming the shard if either file is missing, damaged, truncated, or of
    another store.
    """
    path, entry = shard_path(folder, shard), Entry.load(entry_path(folder, shard))
    if entry.plan != plan.digest() or entry.shard != shard or len(entry.ids) != len(entry.lengths):
        raise StoreError(
            f"{entry_path(folder, shard).name} belongs to another store: two versions were mixed",
            where=folder,
            hint=REDO,
        )
    if not path.is_file():
        raise StoreError(f"{path.name} is missing", where=folder, hint=REDO)
    size = path.stat().st_size
    if size != entry.size:
        raise StoreError(
            f"{path.name} is damaged: it has {size} bytes, not {entry.size}", where=path, hint=REDO
        )
    return entry


def write_lists(folder: Path, entries: Iterable[Entry]) -> None:
    """Write the entries' failures and warnings to one file each, in the corpus's order."""
    for name, text in _lists(entries).items():
        write_text(folder / name, text)


def lists_stand(folder: Path, entries: Iterable[Entry]) -> bool:
    """Return whether both lists exist and match the entries: a process may die before writing."""
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == text.encode()
        for name, text in _lists(entries).items()
    )


def _lists(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the content of each list by file name."""
    ordered = sorted(entries, key=lambda entry: entry.shard)
    return {
        FAILURES: _json_lines(row for entry in ordered for row in entry.failed),
        WARNINGS: _json_lines(row for entry in ordered for row in entry.warned),
    }


def write_rows(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write one JSON line per row."""
    write_text(path, _json_lines(rows))


def _json_lines(rows: Iterable[BaseModel]) -> str:
    return "".join(
        json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n" for row in rows
    )


def refuse_foreign(folder: Path, plan: Plan) -> None:
    """Raise `StoreError` if the folder holds a shard or an entry that is not in the plan."""
    known = {PLAN}
    for shard in range(plan.shards):
        known |= {shard_path(folder, shard).name, entry_path(folder, shard).name}
    parts = sorted(path.name for path in folder.iterdir() if path.suffix in (".arrow", ".json"))
    foreign = [name for name in parts if name not in known]
    if foreign:
        raise StoreError(
            f"{foreign[0]} does not belong to this feature store of {plan.shards} shard(s)",
            where=folder,
            hint="move it elsewhere",
        )
