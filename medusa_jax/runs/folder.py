"""A run's folder: one process at a time, and which runs are not finished."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import RunFolderError
from medusa_jax.files import locked, write_text
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import JOINED, OUTPUTS, Run


def unfinished(out: Path) -> list[Path]:
    """Folders of the runs below `out` of which training was begun and a member has no outputs yet, the one that trained last first."""
    last: dict[Path, float] = {}
    for path in out.glob("*/config.yaml"):
        times = [found.stat().st_mtime for found in path.parent.glob("**/members/*/metrics.jsonl")]
        if times and not _trained(path):
            last[path.parent] = max(times)
    return sorted(last, key=lambda folder: -last[folder])


def _trained(path: Path) -> bool:
    """Whether every member of the run of this config.yaml is trained in every fold; a file that cannot be read is nobody's run."""
    try:
        run = Run(
            RunConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))),
            path.parent.parent,
        )
    except (ValueError, yaml.YAMLError):
        return True
    wanted = (OUTPUTS, JOINED) if run.config.ensemble.fit_on == "out_of_fold" else (OUTPUTS,)
    places = [
        run.member_folder(fold, member.id)
        for fold in range(run.config.corpus.splits)
        for member in run.config.members
    ]
    return all((place / name).exists() for place in places for name in wanted)


@contextmanager
def opened(run: Run, *, wait: bool = False) -> Iterator[None]:
    """Use the run folder alone, if asked after a `wait` for others that do; write what the run is into it.

    Of several processes of one run the first one does both. Raises `RunFolderError` if the folder is in use (without `wait`),
    holds another run, or cannot be made; or if there are several processes and none has prepared the run before.
    """
    from medusa_jax.machines.processes import leads, several

    if several() and not run.corpus_file.exists():
        raise RunFolderError(
            "several processes train what one has prepared",
            where=run.folder,
            hint="run `medusa extract` with the same arguments first",
        )
    with _held(run, wait) if leads() else nullcontext():
        _keep_compiled(run.out / "compiled")
        yield


@contextmanager
def _held(run: Run, wait: bool) -> Iterator[None]:
    """The folder's lock, and what the run is in writing."""
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / ".lock").touch()
    except OSError as error:
        hint = "choose a folder that you may write to with --out"
        raise RunFolderError(
            f"the run folder cannot be used: {error.strerror}", where=run.folder, hint=hint
        ) from error
    with locked(run.folder, wait=wait):
        path = run.folder / "config.yaml"
        text = yaml.safe_dump(
            run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        )
        if path.exists():
            try:
                same = (
                    RunConfig.model_validate(
                        yaml.safe_load(path.read_text(encoding="utf-8"))
                    ).digest()
                    == run.config.digest()
                )
            except (ValueError, yaml.YAMLError):
                same = False
            if not same:
                hint = "choose another --out, or remove the folder"
                raise RunFolderError(
                    "this folder holds a run of another configuration", where=path, hint=hint
                )
        else:
            write_text(path, text)
        keep_provenance(run)
        yield


def _keep_compiled(folder: Path) -> None:
    """Programs compiled once are read back from disk by the next command (a step takes 10 s and more to compile)."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
