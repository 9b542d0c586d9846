"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path,
    typer.Argument(
        help="A YAML file, the name of a shipped configuration (demo, ravdess, …), "
        "or the folder of a run."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value: --set training.batch_size=32. May be repeated."),
]
Out = Annotated[Path, typer.Option(help="Folder for runs, features and generated corpora.")]
RUNS = Path("runs")
"""The default of `Out`."""

Shard = Annotated[
    str | None,
    typer.Option(
        help="Make share i/n of the shards, i from 1; start one process for each i, on any machine."
    ),
]
Plan = Annotated[
    bool,
    typer.Option("--plan", help="Show what training will do and need, without training."),
]
Speed = Annotated[
    float | None,
    typer.Option(
        help="With --plan: TFLOP/s of all devices to assume; default: measured in some steps.",
        min=1e-6,
    ),
]
