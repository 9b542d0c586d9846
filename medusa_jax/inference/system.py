"""A trained system on disk: the members and the ensemble of a run, in the run or exported.

SYSTEM/
    system.json      name, classes, members, digests of all files, version
    config.yaml      the run's configuration
    members/ID/      member.json, weights.safetensors
    ensemble/        ensemble.json, meta_classifier.safetensors
    backbones/NAME/  pretrained encoders, if they were copied
    model_card.md    the run's card, if it was made
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medusa_jax.config.features import (
    ExtractorConfig,
    FramesConfig,
    HuggingFaceConfig,
    StoreConfig,
)
from medusa_jax.config.run import RunConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.ensemble import ensemble_folder
from medusa_jax.errors import CheckpointError, ConfigError
from medusa_jax.files import disk_errors, sha256_of, write_text
from medusa_jax.hub.catalogue import PREFIX, short_name
from medusa_jax.hub.locate import locate
from medusa_jax.runs.run import Run
from medusa_jax.training import member_folder
from medusa_jax.version import VERSION

RECORD, CONFIG, CARD, BACKBONES = "system.json", "config.yaml", "model_card.md", "backbones"
FORMAT = 1
"""Of the folder; another one is refused."""


@dataclass(frozen=True)
class System:
    """The configuration and the folders of a trained system."""

    config: RunConfig
    members: Path
    ensemble: Path
    card: Path

    def member(self, name: str) -> Path:
        """A member's folder."""
        return self.members / name

    @property
    def combined(self) -> bool:
        """The members were combined to an ensemble."""
        return (self.ensemble / ensemble_folder.RECORD).is_file()


def open_system(folder: Path, fold: int | None = None) -> System:
    """The system in an exported folder or a run's; of a run with folds, that of fold `fold`, from
    1.

    Raises `CheckpointError` if there is none, a file is damaged or lacks, or the folder is of
    another format; `ConfigError` for folds that are not there.
    """
    folder = Path(folder)
    if (folder / RECORD).is_file():
        _verify(folder, _record(folder / RECORD))
        return _system(_placed(load_config(folder / CONFIG), folder), folder, folder)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(
            "there is no trained system here",
            where=folder,
            hint="give the folder of a finished run, or one made by `medusa export`",
        )
    run = Run(load_config(folder / CONFIG), folder.resolve().parent)
    splits = run.config.corpus.splits
    if (splits > 1 and fold is None) or not 1 <= (fold or 1) <= splits:
        raise ConfigError(
            f"the run has {splits} folds, each with members of its own",
            where=folder,
            hint=f"choose one with --fold, from 1 to {splits}",
        )
    own = folder / f"fold-{fold}" if splits > 1 else folder
    found = _system(run.config, own, folder)
    for member in found.config.members:
        member_folder.MemberFolder(found.member(member.id)).record()
    return found


def _system(config: RunConfig, own: Path, whole: Path) -> System:
    return System(config, own / "members", own / "ensemble", whole / CARD)


def export(system: System, folder: Path, *, with_backbones: bool = False) -> Path:
    """Copy a system to a new folder that needs no run, corpus or store, and return it.

    Pretrained encoders are named in it, or copied `with_backbones`. Raises `CheckpointError` if the
    folder is there already or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError("the folder is not empty", where=folder, hint="name a new one")
    with disk_errors(CheckpointError, "the system", folder, "remove it and export again"):
        folder.mkdir(parents=True, exist_ok=True)
        raw = system.config.model_dump(mode="json")
        if with_backbones:
            raw = _with_backbones(system.config, raw, folder)
        text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
        write_text(folder / CONFIG, text)
        for member in system.config.members:
            _copy(system.member(member.id), folder / "members" / member.id, member_folder)
        if system.combined:
            _copy(system.ensemble, folder / "ensemble", ensemble_folder)
        if system.card.is_file():
            shutil.copyfile(system.card, folder / CARD)
        record = {
            "format": FORMAT,
            "name": system.config.name,
            "library": f"medusa-jax {VERSION}",
            "members": [member.id for member in system.config.members],
            "sha256": _digests(folder),
        }
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
    return folder


def _copy(source: Path, target: Path, kind: Any) -> None:
    """The record and the weights of a member or an ensemble."""
    target.mkdir(parents=True)
    for name in (kind.RECORD, kind.WEIGHTS):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def backbones_of(config: RunConfig) -> list[str]:
    """The pretrained models that the system reads audio or words with, as its configuration names
    them.
    """
    used = {name for member in config.members for name in member.modalities}
    found = []
    for name, feature in config.features.items():
        if name in used and isinstance(feature, HuggingFaceConfig):
            found.append(feature.model)
    if config.transcription is not None and config.transcription.backend != "corpus":
        found.append(config.transcription.model)
    for member in config.members:
        if member.task == "finetuning" and member.finetuning is not None:
            found += member.finetuning.backbones.values()
    return list(dict.fromkeys(found))


def _with_backbones(config: RunConfig, raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the pretrained models; the configuration with their names in this folder."""
    text = json.dumps(raw, ensure_ascii=False)
    for model in backbones_of(config):
        name = short_name(model)
        place = folder / BACKBONES / name
        if place.exists():
            raise CheckpointError(
                f"two pretrained models are called {name}",
                where=model,
                hint="rename the folder of one, or export without the backbones",
            )
        shutil.copytree(locate(model, None, offline=True), place)
        own = json.dumps(f"{PREFIX}{BACKBONES}/{name}")
        text = text.replace(json.dumps(model, ensure_ascii=False), own)
    found: dict[str, Any] = json.loads(text)
    return found


def _placed(config: RunConfig, folder: Path) -> RunConfig:
    """The configuration with the models in this folder by their whole paths."""
    own = json.dumps(f"{PREFIX}{BACKBONES}/")[:-1]
    place = json.dumps(f"{PREFIX}{folder.resolve()}/{BACKBONES}/")[:-1]
    text = json.dumps(config.model_dump(mode="json"), ensure_ascii=False)
    return RunConfig.model_validate(json.loads(text.replace(own, place)))


def features_of(config: RunConfig, members: Sequence[MemberConfig]) -> dict[str, ExtractorConfig]:
    """The features that the members read, in the order of the configuration.

    Raises `ConfigError` if one cannot be made of new audio.
    """
    found: dict[str, ExtractorConfig] = {}
    for name, feature in config.features.items():
        for member in members:
            if name not in member.modalities:
                continue
            if isinstance(feature, (StoreConfig, FramesConfig)):
                raise ConfigError(
                    f"member {member.id} reads {name!r}, which {feature.extractor} takes from "
                    "files: it cannot be made of new audio",
                    where=f"features.{name}",
                    hint="choose a member of other features: --use ID",
                )
            found[name] = feature
    return found


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _record(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found, _ = record["format"], record["sha256"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the system's record cannot be read: {error}", where=path, hint="export it again"
        ) from error
    if found != FORMAT:
        raise CheckpointError(
            f"a system of format {found!r}, not {FORMAT}",
            where=path,
            hint=f"it was made by {record.get('library', 'another version')}: use that version",
        )
    return record


def _verify(folder: Path, record: dict[str, Any]) -> None:
    """Raise `CheckpointError` naming the first file that lacks or was changed."""
    for name, sha256 in record["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{name} is missing", where=folder, hint="copy the folder again")
        if sha256_of(path) != sha256:
            raise CheckpointError(
                f"{name} is damaged: its content does not match its digest",
                where=path,
                hint="copy the folder again",
            )
