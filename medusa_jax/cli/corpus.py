"""`medusa corpus`: one table of utterances from audio files and labels, built and checked."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medusa_jax.cli.opening import results

app = typer.Typer(
    help="Build, check or generate a corpus: one table of utterances with their votes.",
    no_args_is_help=True,
)


class Source(StrEnum):
    """Corpora with a reader."""

    MSP_PODCAST = "msp-podcast"
    RAVDESS = "ravdess"
    CREMA_D = "crema-d"
    MELD = "meld"
    IEMOCAP = "iemocap"
    MEDUSA_CSV = "medusa-csv"


class SoftLabelVariant(StrEnum):
    """Ways to turn votes into a target."""

    PRIMARY = "primary"
    PRIMARY_AND_SECONDARY = "primary+secondary"
    WITH_OTHER = "with_other"


SoftLabels = Annotated[
    SoftLabelVariant,
    typer.Option(
        help="primary: votes for the classes; primary+secondary: every mention counts; "
        "with_other: a ninth bucket."
    ),
]


@app.command()
def build(
    source: Annotated[Source, typer.Argument(help="Kind of corpus.")],
    root: Annotated[
        Path, typer.Argument(help="Its folder as released (for medusa-csv: the CSV file).")
    ],
    out: Annotated[Path, typer.Option(help="The table to write (Parquet).")],
    soft_labels: SoftLabels = SoftLabelVariant.PRIMARY,
    transcripts: Annotated[
        Path | None,
        typer.Option(help="A folder of NAME.txt to use in place of the corpus's own transcripts."),
    ] = None,
    label_set: Annotated[
        int,
        typer.Option(
            min=4,
            max=6,
            help="IEMOCAP's classes: 4 angry, happy, neutral, sad; 5 and frustrated; "
            "6 and excited.",
        ),
    ] = 6,
    merge_excited: Annotated[
        bool,
        typer.Option("--merge-excited", help="IEMOCAP: excited counts as happy; not with 6."),
    ] = False,
    audio: Annotated[
        Path | None,
        typer.Option(
            help="MELD: the folder with the WAV files, or to put those in that ffmpeg makes from "
            "the videos; by default the corpus folder."
        ),
    ] = None,
) -> None:
    """Read a corpus in its released layout and write one table.

    Example: medusa corpus build ravdess ~/data/ravdess --out ravdess.parquet
    """
    from medusa_jax.corpus.sources import read_source

    corpus = read_source(
        source.value,
        root.resolve(),
        soft_labels=soft_labels.value,
        transcripts=transcripts,
        label_set=label_set,
        merge_excited=merge_excited,
        audio=audio,
    )
    corpus.save(out)
    hours = corpus.frame["seconds"][corpus.frame["audio"] != ""].sum() / 3600
    dialogues = f" in {len(corpus.dialogues())} dialogues" if corpus.conversational else ""
    typer.echo(
        f"{out}: {len(corpus)} utterances{dialogues} of {corpus.name}, "
        f"{hours:.2f} hours of audio found"
    )
    typer.echo(f"next: medusa corpus check {out}")


@app.command()
def check(
    path: Annotated[
        Path, typer.Argument(help="A corpus folder, or a table written by `medusa corpus build`.")
    ],
    decode: Annotated[
        bool,
        typer.Option(
            "--decode", help="Decode every file instead of reading its header: slower, finds more."
        ),
    ] = False,
) -> None:
    """Count what a corpus holds and list its errors; the exit code is 3 if there are any."""
    from medusa_jax.corpus.check import check as check_corpus
    from medusa_jax.corpus.sources import open_corpus
    from medusa_jax.errors import CorpusError

    found = check_corpus(open_corpus(path), decode=decode)
    results().print(found)
    if not found.ok:
        raise typer.Exit(CorpusError.exit_code)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A pickled feature file of IEMOCAP or MELD, as others share it.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", help="Another file of the same dialogues, for its labels or features."
        ),
    ] = None,
) -> None:
    """Make a table of conversations and a feature store a modality; runs no code of the file.

    Example: medusa corpus import IEMOCAP_features.pkl --out iemocap
    """
    from medusa_jax.progress import track
    from medusa_jax.store.pickled import import_pickles

    with track("import") as report:
        made = import_pickles(file, others or [], out, progress=report)
    results().print(made)
    typer.echo(f"use it in a run:\n{made.yaml()}", nl=False)


@app.command()
def generate(
    root: Annotated[Path, typer.Argument(help="The folder to make.")],
    size: Annotated[
        int, typer.Option(help="Number of labelled utterances (train and development).")
    ] = 800,
    test_per_class: Annotated[
        int, typer.Option(help="Number of utterances of each class in the test set.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal corpora.")] = 0,
    conversations: Annotated[
        bool,
        typer.Option(
            "--conversations",
            help="Dialogues with a visual stream, of --size turns in all; no test3.",
        ),
    ] = False,
) -> None:
    """Generate synthetic speech in MSP-Podcast's layout, to try everything without a licence."""
    from medusa_jax.synthetic.conversations import generate_conversations
    from medusa_jax.synthetic.generate import generate as generate_corpus

    if conversations:
        generate_conversations(root, size=size, seed=seed)
        counts = f"{size} turns of dialogues"
    else:
        generate_corpus(root, size=size, test_per_class=test_per_class, seed=seed)
        counts = f"{size} labelled and {8 * test_per_class} test utterances"
    typer.echo(f"{root}: {counts} of synthetic speech in MSP-Podcast's layout")
    typer.echo(f"next: medusa corpus check {root}")
