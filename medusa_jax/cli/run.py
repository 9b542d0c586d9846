"""What every command on a run shares: its arguments, and the run they name, opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from medusa_jax.pipeline.run_folder import Run
    from medusa_jax.pipeline.steps import Prepared

Config = Annotated[Path, typer.Argument(help="A YAML file, the name of a shipped configuration (demo, ravdess, …), or the folder of a run.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change one value: --set training.batch_size=32. May be repeated.")]
Out = Annotated[Path, typer.Option(help="Folder for runs, features and generated corpora.")]


@contextmanager
def prepared_run(config: Path, settings: list[str] | None, out: Path) -> "Iterator[Prepared]":
    """The run that the arguments name, its folder held by this process, corpus and features ready."""
    from medusa_jax.pipeline.run_folder import opened
    from medusa_jax.pipeline.steps import prepare

    chosen = resolve(config, settings, out)
    with opened(chosen):
        say(f"[bold]{escape(chosen.config.name)}[/bold] in {escape(str(chosen.folder))}")
        yield prepare(chosen)


def resolve(config: Path, settings: list[str] | None, out: Path) -> "Run":
    """A YAML file, a run's folder, or the name of a shipped configuration, with `--set` applied."""
    from medusa_jax.config import load_config
    from medusa_jax.pipeline.run_folder import Run

    if (config / "config.yaml").is_file():
        return Run(load_config(config / "config.yaml", settings or ()), config.resolve().parent)
    shipped = shipped_configs() / f"{config.name}.yaml"
    named = not config.exists() and len(config.parts) == 1 and shipped.is_file()
    return Run(load_config(shipped if named else config, settings or ()), out)


def shipped_configs() -> Path:
    """Where `configs/` lies: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def say(text: str) -> None:
    """A line on stderr, with Rich markup."""
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
