"""`medusa models`: pretrained encoders, fetched once and pinned, so that everything else works without a network."""

from pathlib import Path
from typing import Annotated

import typer

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


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help="Entries (`medusa models list`), or hf:OWNER/NAME.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(help="The folder to fetch to; later commands find it by MEDUSA_MODELS."),
    ] = None,
    revision: Revision = None,
    convert: Converting = False,
) -> None:
    """Download models, each at one commit, and record that commit and every file's digest.

    Example: medusa models fetch whisper-large-v3 roberta-large modernbert-large
    """
    from medusa_jax.backbones.download import fetch as fetch_one
    from medusa_jax.backbones.record import models_folder
    from medusa_jax.errors import ConfigError

    if revision is not None and len(names) > 1:
        raise ConfigError(
            "one revision cannot be of several models",
            where="--revision",
            hint="fetch them one by one",
        )
    for name in names:
        folder = fetch_one(
            name, (to or models_folder()).expanduser(), revision=revision, converting=convert
        )
        typer.echo(f"{name}: {folder}")
    if to is not None and to.expanduser().resolve() != models_folder().resolve():
        typer.echo(
            f"let later commands find them: export MEDUSA_MODELS={to.expanduser().resolve()}"
        )


@app.command("list")
def list_() -> None:
    """Show the entries and what is on this machine."""
    from rich.table import Table

    from medusa_jax.backbones.catalogue import ENCODERS
    from medusa_jax.backbones.record import folder_of, models_folder, models_here
    from medusa_jax.cli.opening import results

    here, root = models_here(), models_folder()
    table = Table(
        "name",
        "hub id",
        "commit",
        "reads",
        "frames",
        "layers",
        "weights",
        "here",
        title=f"pretrained encoders (below {root})",
    )
    for entry in ENCODERS.values():
        frames = f"{entry.width} × " + (
            f"{entry.frames_per_second}/s" if entry.frames_per_second else "token"
        )
        record = here.pop(folder_of(entry.name, root).name, None)
        held = (
            "no"
            if record is None
            else "yes"
            if record.revision == entry.revision
            else f"at {record.revision[:8]}"
        )
        weights = "to convert" if entry.pickled else "safetensors"
        table.add_row(
            entry.name,
            entry.hub_id,
            entry.revision[:8],
            entry.reads,
            frames,
            entry.layers,
            weights,
            held,
        )
    for record in here.values():
        table.add_row(
            f"hf:{record.hub_id}", record.hub_id, record.revision[:8], "", "", "", "", "yes"
        )
    results().print(table)


@app.command()
def convert(
    folder: Annotated[
        Path, typer.Argument(help="A model's folder with config.json and pytorch_model.bin.")
    ],
) -> None:
    """Write model.safetensors beside a folder's pytorch_model.bin: tensors alone are read, code in the file is never run."""
    from medusa_jax.backbones.torch_weights import convert as convert_folder

    typer.echo(convert_folder(folder))
