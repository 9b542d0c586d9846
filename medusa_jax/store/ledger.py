"""What a feature store says of itself: `store.json`, the plan, and one `shard-00000.json` a finished shard; the lists for people.

There is no file that all shards share, so shards can be written in any order and by several processes, and a finished
store needs no merging. Each of these files carries a digest of its own content, and an entry names the plan it belongs to.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medusa_jax.errors import StoreError
from medusa_jax.files import digest_of, write_text

PLAN, FAILURES, WARNINGS = "store.json", "failures.jsonl", "warnings.jsonl"
REDO = "run the command that makes it (`medusa extract`, `medusa transcribe`) again: it redoes only what is damaged or missing"


class _Sealed(BaseModel):
    """A JSON file that knows its own digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest(self) -> str:
        """Hex SHA-256 of the content."""
        return digest_of(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write `path` whole or not at all."""
        content = {**self.model_dump(mode="json"), "digest": self.digest()}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises `StoreError` naming the file if it is missing or was changed."""
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
    """What the store will hold once it is whole; written first, the same by every process that works on it."""

    format: Literal[1] = 1
    extractor: dict[str, object] = Field(description="the extractor's identity")
    corpus: str = Field(description="name of the corpus")
    inputs: str = Field(description="digest of the ids and of the audio paths or transcripts")
    width: int = Field(ge=1, description="features of a frame")
    dtype: Literal["float16", "float32", "int8", "uint8"]
    made_from: str | None = Field(
        None,
        description="digest of the store whose frames these are, converted; none: the extractor's own",
    )
    utterances: int = Field(ge=1, description="asked for, failed ones included")
    shard_rows: int = Field(ge=1, description="utterances of a shard; the last may hold fewer")

    @property
    def shards(self) -> int:
        """How many shards the store has."""
        return -(-self.utterances // self.shard_rows)

    def rows(self, shard: int) -> range:
        """Positions in the corpus that shard number `shard` holds."""
        return range(shard * self.shard_rows, min(self.utterances, (shard + 1) * self.shard_rows))


class Failure(BaseModel):
    """One utterance without features: a row of `failures.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    audio: str
    error: str = Field(description="class of the error")
    message: str


class Warned(BaseModel):
    """One utterance that has features, of audio that someone should listen to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    warnings: tuple[str, ...]


class Entry(_Sealed):
    """A finished shard; written after it."""

    plan: str = Field(description="digest of the plan")
    shard: int = Field(ge=0)
    size: int = Field(ge=0, description="bytes")
    sha256: str
    ids: tuple[str, ...]
    lengths: tuple[int, ...] = Field(description="frames, in the order of ids")
    failed: tuple[Failure, ...] = ()
    warned: tuple[Warned, ...] = ()
    clipped: int = Field(0, ge=0, description="values beyond the dtype's range, cut to it")
    made_with: dict[str, str] = Field(
        default_factory=dict, description="versions of the packages that computed it"
    )


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{shard:05d}.arrow"


def entry_path(folder: Path, shard: int) -> Path:
    """Where a shard's entry lies."""
    return folder / f"shard-{shard:05d}.json"


def read_entry(folder: Path, plan: Plan, shard: int) -> Entry:
    """The entry of a shard whose file is there in full length.

    Raises `StoreError` naming the shard if either file is missing, damaged, cut, or of another store.
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
            f"{path.name} is damaged: {size} bytes where {entry.size} were written",
            where=path,
            hint=REDO,
        )
    return entry


def write_lists(folder: Path, entries: Iterable[Entry]) -> None:
    """`failures.jsonl` and `warnings.jsonl`, in the corpus's order: for people, all they say stands in the entries."""
    for name, text in _lists(entries).items():
        write_text(folder / name, text)


def lists_stand(folder: Path, entries: Iterable[Entry]) -> bool:
    """Whether both lists are there and say what the entries say: a process may have been killed before it wrote them."""
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == text.encode()
        for name, text in _lists(entries).items()
    )


def _lists(entries: Iterable[Entry]) -> dict[str, str]:
    """The content of each list by its file's name."""
    ordered = sorted(entries, key=lambda entry: entry.shard)
    return {
        FAILURES: _json_lines(row for entry in ordered for row in entry.failed),
        WARNINGS: _json_lines(row for entry in ordered for row in entry.warned),
    }


def write_rows(path: Path, rows: Iterable[BaseModel]) -> None:
    """One JSON line a row."""
    write_text(path, _json_lines(rows))


def _json_lines(rows: Iterable[BaseModel]) -> str:
    return "".join(
        json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n" for row in rows
    )


def refuse_foreign(folder: Path, plan: Plan) -> None:
    """Raise `StoreError` if the folder holds a shard or an entry that the plan does not know."""
    known = {
        path.name
        for shard in range(plan.shards)
        for path in (shard_path(folder, shard), entry_path(folder, shard))
    } | {PLAN}
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in (".arrow", ".json") and path.name not in known
    )
    if foreign:
        raise StoreError(
            f"{foreign[0]} does not belong to this feature store of {plan.shards} shard(s)",
            where=folder,
            hint="move it elsewhere",
        )
