"""`medusa features`: look into a feature store, and check every byte of it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look into a feature store, or check that nothing in it is damaged.", no_args_is_help=True)

Store = Annotated[Path, typer.Argument(help="Folder of a feature store: the one that holds store.json.")]


@app.command()
def inspect(store: Store) -> None:
    """Show what a store holds, and what made it.

    Example: medusa features inspect runs/features/logmel-1f0c2a3b-9d8e7f6a
    """
    from medusa_jax.features.summary import summary

    for name, value in summary(store).items():
        typer.echo(f"{name + ':':<12} {value}")


@app.command()
def check(store: Store) -> None:
    """Read every shard and compare it with its digest; a damaged one is named, and the exit code is not 0."""
    from medusa_jax.features.store import FeatureStore

    opened = FeatureStore.open(store)
    opened.verify()
    typer.echo(f"{store}: {opened.plan.shards} shard(s), {len(opened)} utterances, all whole")
