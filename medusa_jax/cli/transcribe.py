"""`medusa transcribe`: transcripts of a whole corpus, or of one share of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medusa_jax.cli.opening import left_to_make, resolve, stoppable
from medusa_jax.cli.options import RUNS, Config, Out, Settings, Shard
from medusa_jax.errors import ConfigError

if TYPE_CHECKING:
    from medusa_jax.corpus.table import Corpus
    from medusa_jax.runs.run import Run

Backend = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="auto, flax, transformers, faster-whisper, or corpus: the corpus's own transcripts.",
    ),
]
Export = Annotated[
    Path | None, typer.Option(help="Also write the transcripts to this new folder, as text files.")
]


def transcribe(
    config: Config,
    settings: Settings = None,
    out: Out = RUNS,
    backend: Backend = None,
    shard: Shard = None,
    export: Export = None,
) -> None:
    """Read the corpus and transcribe every split with CONFIG's Whisper.

    Run it again after an interruption to resume.
    """
    chosen = [*(settings or []), *([f"transcription.backend={backend}"] if backend else [])]
    run = _transcribing(config, chosen, out)
    if shard is not None:
        transcribe_share(run, shard)
    else:
        transcribe_all(run, export)


def transcribe_all(run: "Run", export: Path | None) -> None:
    """Transcribe every utterance and print the counts; the run folder is not touched."""
    from medusa_jax.runs.inputs import transcripts_of
    from medusa_jax.transcription.transcripts import with_transcripts

    with stoppable(run):
        corpus = _corpus(run)
        store = transcripts_of(run, corpus)
        heard = corpus if store is None else with_transcripts(corpus, store)
        _show_counts(heard)
        if store is not None:
            typer.echo(f"in {store.folder}")
        if export is not None:
            _export(heard, export)


def _show_counts(corpus: "Corpus") -> None:
    """Print the number of transcripts by split."""
    for split, texts in corpus.frame.groupby("split", sort=False)["transcript"]:
        empty = int((texts == "").sum())
        count = f"{int(texts.notna().sum())} of {len(texts)} utterances have a transcript"
        typer.echo(f"{split}: {count}" + (f", {empty} of them empty" if empty else ""))


def _export(corpus: "Corpus", folder: Path) -> None:
    from medusa_jax.progress import track
    from medusa_jax.transcription.transcripts import export

    with track("export") as report:
        typer.echo(f"{folder}: {export(corpus, folder, report)} text files")


def transcribe_share(run: "Run", shard: str) -> None:
    """Transcribe share `i/n` and print how many shards other shares still have to make."""
    from medusa_jax.runs.inputs import transcribe_share as make
    from medusa_jax.store.share import Share

    share = Share.parse(shard)
    with stoppable(run):
        folder, missing = make(run, _corpus(run), share)
    left = left_to_make(missing, "the transcripts are complete")
    typer.echo(f"share {share} is done, {left}, in {folder}")


def _transcribing(config: Path, settings: list[str], out: Path) -> "Run":
    """The run named by the arguments. Raises `ConfigError` if it has no transcription."""
    run = resolve(config, settings, out)
    if run.config.transcription is None:
        what = "this configuration has no section `transcription`"
        hint = "add it to the file, or --set transcription.model=whisper-large-v3"
        raise ConfigError(what, where=config, hint=hint)
    return run


def _corpus(run: "Run") -> "Corpus":
    """The corpus read from its source, not from the run folder."""
    from medusa_jax.runs.inputs import read_corpus

    return read_corpus(run.config.corpus, run.out)
