"""`medusa extract`: the features of a corpus; `medusa features`: feature stores, converted."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medusa_jax.cli.opening import left_to_make, prepared_run, resolve, say, stoppable
from medusa_jax.cli.options import RUNS, Config, Out, Settings, Shard

app = typer.Typer(
    help="Inspect, check or convert a feature store; import and export folders of .npy files.",
    no_args_is_help=True,
)

Store = Annotated[
    Path, typer.Argument(help="Folder of a feature store: the one that holds store.json.")
]
StoreOut = Annotated[
    Path,
    typer.Option("--out", help="Folder of the new store. An unfinished one there is resumed."),
]


class Dtype(StrEnum):
    """Storage type of the frames."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    INT8 = "int8"


def extract(
    config: Config, settings: Settings = None, out: Out = RUNS, shard: Shard = None
) -> None:
    """Read the corpus and extract every feature set of CONFIG.

    Existing stores are checked byte by byte, and only damaged shards are made again.
    """
    if shard is not None:
        extract_share(config, settings, out, shard)
    else:
        extract_all(config, settings, out)


def extract_all(config: Path, settings: list[str] | None, out: Path) -> None:
    """Extract every feature set and print the size of each store."""
    with prepared_run(config, settings, out, verify=True) as prepared:
        for name, store in prepared.stores.items():
            size = f"{len(store)} utterances, {store.width} features a frame"
            print(f"{name}: {size}, {len(store.failed)} failed, in {store.folder}")


def extract_share(config: Path, settings: list[str] | None, out: Path, shard: str) -> None:
    """Extract share `i/n` and print how many shards other shares still have to make.

    One process reads the corpus; the others wait for its table.
    """
    from medusa_jax.store.share import Share

    share = Share.parse(shard)
    run = resolve(config, settings, out)
    from medusa_jax.runs.folder import opened
    from medusa_jax.runs.inputs import check_source, extract_shares, load_corpus

    if run.config.corpus.source != "generated" and not run.corpus_file.exists():
        check_source(run.config.corpus)
    with stoppable(run):
        if not run.corpus_file.exists():
            with opened(run, wait=True):
                load_corpus(run)
        shares = extract_shares(run, load_corpus(run), share)
    for name, (folder, missing) in shares.items():
        left = left_to_make(missing, "the store is complete")
        typer.echo(f"{name}: share {share} is done, {left}, in {folder}")


@app.command()
def inspect(store: Store) -> None:
    """Show what a store holds and its origin.

    Example: medusa features inspect runs/features/logmel-1f0c2a3b-9d8e7f6a
    """
    from medusa_jax.store.summary import summary

    for name, value in summary(store).items():
        typer.echo(f"{name + ':':<12} {value}")


@app.command()
def check(store: Store) -> None:
    """Read every shard and compare it with its digest.

    A damaged shard is named, and the exit code is not 0.
    """
    from medusa_jax.store.reader import FeatureStore

    opened = FeatureStore.open(store)
    opened.verify()
    typer.echo(f"{store}: {opened.plan.shards} shard(s), {len(opened)} utterances, all intact")


@app.command()
def convert(
    store: Store,
    dtype: Annotated[Dtype, typer.Option(help="Storage type of the new store's frames.")],
    out: StoreOut,
) -> None:
    """Copy a store with its frames in another dtype.

    int8 takes half the space of float16 and is read as float16.

    Example: medusa features convert runs/features/wavlm-1f0c2a3b-9d8e7f6a --dtype int8 --out int8
    """
    from medusa_jax.progress import track
    from medusa_jax.store.convert import convert as convert_store
    from medusa_jax.store.reader import FeatureStore

    with track("convert") as report:
        made = convert_store(FeatureStore.open(store), dtype.value, out, progress=report)
    _show_made(out, len(made), len(made.failed))


@app.command("import")
def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of .npy files named by utterance, clip-1.npy for clip-1.wav: "
            "[t, d] or [1, t, d]."
        ),
    ],
    corpus: Annotated[
        Path,
        typer.Option(
            help="The utterances: a table that `medusa corpus build` wrote, or the folder of a run."
        ),
    ],
    out: StoreOut,
    dtype: Annotated[Dtype, typer.Option(help="Storage type of the frames.")] = Dtype.FLOAT16,
    max_failures: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the utterances whose file may be missing or invalid."
        ),
    ] = 0.01,
) -> None:
    """Make a store of a folder of .npy files.

    Example: medusa features import wavlm_npy --corpus corpus.parquet --out stores/wavlm
    """
    from medusa_jax.corpus.table import Corpus
    from medusa_jax.progress import track
    from medusa_jax.store.npy import import_folder

    table = Corpus.load(corpus / "corpus.parquet" if corpus.is_dir() else corpus)
    with track("import") as report:
        made = import_folder(
            folder, table, out, dtype=dtype.value, max_failures=max_failures, progress=report
        )
    _show_made(out, len(made), len(made.failed))


@app.command()
def export(
    store: Store, folder: Annotated[Path, typer.Argument(help="A new folder for the .npy files.")]
) -> None:
    """Write every utterance of a store as a .npy file, [t, d], named after its audio file.

    Example: medusa features export runs/features/logmel-1f0c2a3b-9d8e7f6a logmel_npy
    """
    from medusa_jax.progress import track
    from medusa_jax.store.npy import export_folder
    from medusa_jax.store.reader import FeatureStore

    with track("export") as report:
        count = export_folder(FeatureStore.open(store), folder, progress=report)
    typer.echo(f"{folder}: {count} files")


def _show_made(out: Path, count: int, failed: int) -> None:
    """Print the size of a new store, a warning of failures, and the lines that use it in a run."""
    typer.echo(f"{out}: {count} utterances")
    if failed:
        where = out / "failures.jsonl"
        say(f"[yellow]warning:[/yellow] {failed} utterance(s) have no features: {where}")
    typer.echo(f"use it in a run: features: {{NAME: {{extractor: store, path: {out.resolve()}}}}}")
