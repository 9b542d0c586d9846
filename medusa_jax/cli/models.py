"""`medusa models`: pretrained encoders, fetched once and pinned, for use without a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medusa_jax.cli.opening import results
from medusa_jax.errors import ConfigError

if TYPE_CHECKING:
    from medusa_jax.hub.catalogue import Encoder
    from medusa_jax.hub.record import Record

app = typer.Typer(
    help="Fetch pretrained encoders once, pinned; afterwards nothing needs a network.",
    no_args_is_help=True,
)

Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit in place of the entry's own.")
]
Converting = Annotated[
    bool,
    typer.Option(
        "--convert",
        help="Where there are no safetensors, convert PyTorch's weights (tensors alone are read).",
    ),
]
To = Annotated[
    Path | None,
    typer.Option(help="The folder to fetch to; later commands find it by MEDUSA_MODELS."),
]
_COLUMNS = ("name", "hub id", "commit", "reads", "frames", "layers", "weights", "here")


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help="Entries (`medusa models list`), or hf:OWNER/NAME.")
    ],
    to: To = None,
    revision: Revision = None,
    convert: Converting = False,
) -> None:
    """Download models, each at one commit, and record that commit and every file's digest.

    Example: medusa models fetch whisper-large-v3 roberta-large modernbert-large
    """
    from medusa_jax.hub.download import fetch as fetch_one
    from medusa_jax.hub.record import models_folder

    if revision is not None and len(names) > 1:
        what, hint = "--revision is for one model", "fetch the models one by one"
        raise ConfigError(what, where="--revision", hint=hint)
    root = (to or models_folder()).expanduser()
    for name in names:
        typer.echo(f"{name}: {fetch_one(name, root, revision=revision, converting=convert)}")
    if root.resolve() != models_folder().resolve():
        typer.echo(f"to let later commands find them: export MEDUSA_MODELS={root.resolve()}")


@app.command("list")
def list_() -> None:
    """Show the entries and which of them are on this machine."""
    from rich.table import Table

    from medusa_jax.hub.catalogue import ENCODERS
    from medusa_jax.hub.record import folder_of, models_folder, models_here

    here, root = models_here(), models_folder()
    table = Table(*_COLUMNS, title=f"pretrained encoders (below {root})")
    for entry in ENCODERS.values():
        table.add_row(*_row(entry, here.pop(folder_of(entry.name, root).name, None)))
    for record in here.values():
        name, commit = f"hf:{record.hub_id}", record.revision[:8]
        table.add_row(name, record.hub_id, commit, "", "", "", "", "yes")
    results().print(table)


def _row(entry: "Encoder", record: "Record | None") -> tuple[str, ...]:
    """The cells of an entry of the catalogue and of its record on this machine, if any."""
    rate = f"{entry.frames_per_second}/s" if entry.frames_per_second else "token"
    held = "no" if record is None else f"at {record.revision[:8]}"
    if record is not None and record.revision == entry.revision:
        held = "yes"
    return (
        entry.name,
        entry.hub_id,
        entry.revision[:8],
        entry.reads,
        f"{entry.width} × {rate}",
        entry.layers,
        "to convert" if entry.pickled else "safetensors",
        held,
    )


@app.command()
def convert(
    folder: Annotated[
        Path, typer.Argument(help="A model's folder with config.json and pytorch_model.bin.")
    ],
) -> None:
    """Write model.safetensors beside a folder's pytorch_model.bin.

    Only tensors are read: code in the file is never run.
    """
    from medusa_jax.hub.convert import convert as convert_folder

    typer.echo(convert_folder(folder))
