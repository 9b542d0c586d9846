"""A run's folder held by one process at a time, and the runs that are unfinished."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import RunFolderError
from medusa_jax.files import locked, write_text
from medusa_jax.runs.run import Run


def unfinished(out: Path) -> list[Path]:
    """Folders of the runs below `out` with training begun and predictions missing, newest first."""
    begun: dict[Path, float] = {}
    for path in out.glob("*/config.yaml"):
        times = [found.stat().st_mtime for found in path.parent.glob("**/members/*/metrics.jsonl")]
        if times and _lacks_predictions(path):
            begun[path.parent] = max(times)
    return sorted(begun, key=lambda folder: -begun[folder])


def _lacks_predictions(path: Path) -> bool:
    """True if a member of the run of this config.yaml lacks predictions in any fold.

    False for a file that cannot be read.
    """
    config = _config_in(path)
    if config is None:
        return False
    run, out_of_fold = Run(config, path.parent.parent), config.ensemble.fit_on == "out_of_fold"
    for fold in range(config.corpus.splits):
        for member in config.members:
            if not run.predictions_file(fold, member.id).exists():
                return True
            if out_of_fold and not run.out_of_fold_file(fold, member.id).exists():
                return True
    return False


def _config_in(path: Path) -> RunConfig | None:
    """The configuration in a config.yaml, or None if it cannot be read."""
    try:
        return RunConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValueError, yaml.YAMLError):
        return None


@contextmanager
def opened(run: Run, *, wait: bool = False) -> Iterator[None]:
    """Hold the run's folder, after a `wait` for other processes if asked, and record the run in it.

    Of several processes of one run, the first does both. Raises `RunFolderError` if the folder is
    in use (without `wait`), holds another run, or cannot be made; or if there are several processes
    and the run was never prepared.
    """
    from medusa_jax.machines.processes import leads, several

    if several() and not run.corpus_file.exists():
        what = "several processes cannot train a run that was never prepared"
        hint = "run `medusa extract` with the same arguments first"
        raise RunFolderError(what, where=run.folder, hint=hint)
    with _held(run, wait) if leads() else nullcontext():
        _keep_compiled(run.compiled_folder)
        yield


@contextmanager
def _held(run: Run, wait: bool) -> Iterator[None]:
    """Lock the folder, and write or compare its configuration.

    Its provenance follows in `prepare`: naming the devices starts JAX, which takes most of a GPU
    and would leave no room for extraction.
    """
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / ".lock").touch()
    except OSError as error:
        what = f"the run folder cannot be used: {error.strerror}"
        hint = "choose a folder you can write to with --out"
        raise RunFolderError(what, where=run.folder, hint=hint) from error
    with locked(run.folder, wait=wait):
        _keep_config(run)
        yield


def _keep_config(run: Run) -> None:
    """Write `config.yaml`. Raises `RunFolderError` if it is there with another digest."""
    if not run.config_file.exists():
        raw = run.config.model_dump(mode="json")
        write_text(run.config_file, yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))
        return
    there = _config_in(run.config_file)
    if there is None or there.digest() != run.config.digest():
        what = "this folder holds a run of another configuration"
        hint = "choose another --out, or remove the folder"
        raise RunFolderError(what, where=run.config_file, hint=hint)


def _keep_compiled(folder: Path) -> None:
    """Keep compiled programs on disk for later commands: compiling a step takes 10 s and more, and
    on a GPU even a sum takes a fifth of one.
    """
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
