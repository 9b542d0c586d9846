"""`medusa transcribe`: all of a corpus, or one share of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medusa_jax.cli.opening import resolve, stoppable
from medusa_jax.errors import ConfigError

if TYPE_CHECKING:
    from medusa_jax.corpus.table import Corpus
    from medusa_jax.runs.run import Run


def transcribe_all(config: Path, settings: list[str], out: Path, export: Path | None) -> None:
    """Transcribe, and say what was heard where; the run folder is not touched."""
    run = _transcribing(config, settings, out)
    from medusa_jax.progress import track
    from medusa_jax.runs.inputs import transcribed, transcripts_folder
    from medusa_jax.transcription.transcripts import export as export_texts

    with stoppable(run):
        corpus = _corpus(run)
        heard = transcribed(run, corpus)
        for split, texts in heard.frame.groupby("split", sort=False)["transcript"]:
            empty = int((texts == "").sum())
            typer.echo(
                f"{split}: {int(texts.notna().sum())} of {len(texts)} utterances have a transcript"
                + (f", {empty} of them empty" if empty else "")
            )
        if run.config.transcription is not None and run.config.transcription.backend != "corpus":
            typer.echo(f"in {transcripts_folder(run, corpus)}")
        if export is not None:
            with track("export") as report:
                typer.echo(f"{export}: {export_texts(heard, export, report)} text files")


def transcribe_share(config: Path, settings: list[str], out: Path, shard: str) -> None:
    """One share, and what other shares still owe."""
    from medusa_jax.store.share import Share

    share = Share.parse(shard)
    run = _transcribing(config, settings, out)
    from medusa_jax.runs.inputs import transcribe_share as make

    with stoppable(run):
        folder, missing = make(run, _corpus(run), share)
    owed = (
        f"other shares still owe {len(missing)} shard(s)"
        if missing
        else "the transcripts are complete"
    )
    typer.echo(f"share {share} is done, {owed}, in {folder}")


def _transcribing(config: Path, settings: list[str], out: Path) -> "Run":
    """The run that the arguments name. Raises `ConfigError` if it says nothing of transcripts."""
    run = resolve(config, settings, out)
    if run.config.transcription is None:
        hint = "add it to the file, or --set transcription.model=whisper-large-v3"
        raise ConfigError(
            "this configuration has no section `transcription`", where=config, hint=hint
        )
    return run


def _corpus(run: "Run") -> "Corpus":
    """The corpus as it is read, whatever the run folder holds."""
    from medusa_jax.runs.inputs import read_corpus

    return read_corpus(run.config.corpus, run.out)
