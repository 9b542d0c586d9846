"""One folder a run: where everything lies, what made it, and one process at a time.

OUT/corpora/        generated corpora
OUT/compiled/       compiled programs
OUT/features/       feature stores, named by corpus and extractor, shared by all runs
OUT/NAME-DIGEST/    a run: another configuration is another folder (house promise 4)
    config.yaml  provenance.json  corpus.parquet
    [fold-1/ …]  members/ID/  [inner-1/members/ID/ …]  ensemble/
    evaluation/  studies/  submission/
    report.html  model_card.md  report.json  report/
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import RunFolderError
from medusa_jax.files import locked, write_text

_PACKAGES = (
    "medusa-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "datasets",
    "transformers",
    "numpy",
    "pandas",
    "scikit-learn",
)

OUTPUTS, JOINED = "outputs.parquet", "out_of_fold.parquet"
"""In a member's folder: what it says of every utterance; and of its training part, from members trained without the speaker."""


@dataclass(frozen=True)
class Run:
    """A configuration and the folder `out` in which its runs and their shared data lie."""

    config: RunConfig
    out: Path

    @property
    def folder(self) -> Path:
        """This run's own folder."""
        return self.out / f"{self.config.name}-{self.config.digest()[:8]}"

    @property
    def corpus_file(self) -> Path:
        """The table of utterances."""
        return self.folder / "corpus.parquet"

    def fold_folder(self, fold: int) -> Path:
        """Where the run's split `fold` (from 0) lies: the run folder itself if it is the only one."""
        return self.folder / f"fold-{fold + 1}" if self.config.corpus.splits > 1 else self.folder

    def member_folder(self, fold: int, member: str) -> Path:
        """Where a member of a fold lies."""
        return self.fold_folder(fold) / "members" / member


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


def keep_provenance(run: Run, **inputs: object) -> None:
    """Write `provenance.json`: the configuration's digest, the digests `inputs` of what was read, and `made_by`.

    `made_by` lists every set of versions and machine that worked in the folder, the first one first: a later upgrade does
    not hide what trained the members. A run that has nothing new to say leaves the file alone.
    """
    from medusa_jax.machines.processes import leads

    path = run.folder / "provenance.json"
    if not leads():
        return
    before = known_provenance(run)
    us = {name: value for name, value in provenance(run).items() if name != "config"}
    made_by = before["made_by"] + ([] if us in before["made_by"] else [us])
    now = {"config": run.config.digest(), **before, **inputs, "made_by": made_by}
    if now != before:
        write_text(path, json.dumps(now, indent=1, ensure_ascii=False) + "\n")


def known_provenance(run: Run) -> dict[str, Any]:
    """What `provenance.json` says so far."""
    try:
        known: dict[str, Any] = json.loads(
            (run.folder / "provenance.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return {"made_by": []}
    return known


def provenance(run: Run) -> dict[str, object]:
    """What made the numbers: configuration, versions, machine."""
    import jax

    return {
        "config": run.config.digest(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "devices": ", ".join(sorted({d.device_kind for d in jax.devices()})),
    }


def _keep_compiled(folder: Path) -> None:
    """Programs compiled once are read back from disk by the next command (a step takes 10 s and more to compile)."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
