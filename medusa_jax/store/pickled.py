"""Import feature pickles: a folder with a table of conversations and one store a modality.

The folder appears whole or not at all, and the pickles are not needed afterwards.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from medusa_jax.corpus.pickles import FeatureCorpus, Stream, read_feature_pickles
from medusa_jax.corpus.table import SPLITS
from medusa_jax.errors import StoreError
from medusa_jax.files import digest_of, disk_errors, locked, sync_folder
from medusa_jax.store.builder import Advance, Make, fill
from medusa_jax.store.ledger import Entry, Plan
from medusa_jax.store.shard import as_stored
from medusa_jax.store.shard_writer import write_shard
from medusa_jax.version import VERSION

TABLE = "corpus.parquet"
SHARD_ROWS = 2048


@dataclass(frozen=True)
class Imported:
    """A finished import, printed as tables and remarks."""

    folder: Path
    found: FeatureCorpus

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        corpus = self.found.corpus
        dialogues = corpus.frame["dialogue"].nunique()
        yield f"{corpus.name}: {len(corpus)} utterances in {dialogues} dialogues"
        yield _counts(corpus.frame, corpus.classes)
        yield _listed(self.found.streams)
        yield from (Text(remark) for remark in self.found.remarks)

    def yaml(self) -> str:
        """Lines of a configuration that use the table and every store."""
        folder, name = self.folder.resolve(), self.found.corpus.name
        corpus = {"source": "table", "path": str(folder / TABLE), "epoch_by": "development"}
        if name == "meld":
            corpus["speakers"] = "shared"
        stores = {
            stream.name: {"extractor": "store", "path": str(folder / stream.name)}
            for stream in self.found.streams
        }
        lines = {"corpus": corpus, "features": stores}
        return yaml.safe_dump(lines, default_flow_style=None, sort_keys=False, width=4096)


def import_pickles(
    path: Path,
    others: Sequence[Path],
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Write the table and the streams of `path`, joined with `others`, to the new `folder`.

    The ledger of each store has the name, layout and SHA-256 of its file. Raises `StoreError` if
    the folder exists or the disk is full, `CorpusError` for a file that is refused; nothing is
    written then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(
            "the folder exists: nothing is overwritten", where=folder, hint="choose a new --out"
        )
    found = read_feature_pickles([path, *others], folder.resolve())
    kept = "nothing of this import is kept"
    with disk_errors(StoreError, "the import", folder, kept), _beside(folder) as unfinished:
        found.corpus.save(unfinished / TABLE)
        for done, stream in enumerate(found.streams, 1):
            _write(stream, found, unfinished / stream.name)
            if progress:
                progress(done, len(found.streams))
    return Imported(folder, found)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder that becomes `folder` on success and is removed on an error.

    The rest of a killed import is removed first.
    """
    unfinished = folder.parent / f".{folder.name}.importing"
    with locked(unfinished):
        try:
            for left in unfinished.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
                elif left.name != ".lock":
                    left.unlink()
            yield unfinished
            (unfinished / ".lock").unlink()
            sync_folder(unfinished)
            unfinished.rename(folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _write(stream: Stream, found: FeatureCorpus, folder: Path) -> None:
    """Write one store, a frame an utterance."""
    ids = found.corpus.frame["id"].tolist()
    plan = Plan(
        extractor={
            "extractor": "imported",
            "file": stream.file.path.name,
            "sha256": stream.file.sha256,
            "layout": stream.file.layout.name,
            "field": stream.role,
        },
        corpus=found.corpus.name,
        inputs=digest_of(ids),
        width=stream.x_nd.shape[1],
        dtype="float32",
        utterances=len(ids),
        shard_rows=SHARD_ROWS,
    )

    @contextmanager
    def making(plan: Plan, advance: Advance) -> Iterator[Make]:
        yield partial(_make, ids, stream, folder, plan)

    fill(folder, plan, making, allowed=0)


def _make(ids: list[str], stream: Stream, folder: Path, plan: Plan, shard: int) -> Entry:
    """Write one shard."""
    clips = [
        as_stored(ids[row], stream.x_nd[row : row + 1], plan.dtype) for row in plan.rows(shard)
    ]
    return write_shard(folder, plan, shard, [clips], {"medusa-jax": VERSION})


def _counts(frame: pd.DataFrame, classes: Sequence[str]) -> Table:
    """Utterances by class (rows) and split (columns), their sums, and dialogues."""
    splits = [split for split in SPLITS if (frame["split"] == split).any()]
    table = Table("utterances", box=SIMPLE_HEAD)
    for split in splits:
        table.add_column(split, justify="right")
    counts = pd.crosstab(frame["consensus"], frame["split"])
    counts = counts.reindex(index=list(classes), columns=splits, fill_value=0)
    rows = {name: counts.loc[name] for name in classes} | {
        "all": counts.sum(),
        "dialogues": frame.groupby("split")["dialogue"].nunique()[splits],
    }
    for name, row in rows.items():
        table.add_row(name, *(f"{value:,}" for value in row))
    return table


def _listed(streams: Sequence[Stream]) -> Table:
    """Width and source of each stream."""
    table = Table("features", box=SIMPLE_HEAD)
    table.add_column("width", justify="right")
    table.add_column("file", overflow="fold")
    for stream in streams:
        width = str(stream.x_nd.shape[1])
        table.add_row(stream.name, width, f"{stream.file.path.name}, {stream.role}")
    return table
