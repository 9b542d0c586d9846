"""Reuse of members that another run under the same `out` has trained to the same bits.

A run with one more member or another meta-classifier, and a study with one more row or seed, is
another run in another folder; only its new members are trained.
"""

import json
import shutil
from pathlib import Path

from medusa_jax.config.training import MemberConfig
from medusa_jax.errors import CheckpointError, TrainingError
from medusa_jax.files import disk_errors, write_text
from medusa_jax.machines.processes import several
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import keep_provenance, reused_members
from medusa_jax.runs.run import JOINED, OUTPUTS, Run
from medusa_jax.runs.training_plan import all_splits, prepared_examples, training_digest
from medusa_jax.runs.training_splits import TrainingSplit
from medusa_jax.tasks.registry import Reading, data_of
from medusa_jax.training.member_folder import MemberFolder


def reuse_members(prepared: Prepared) -> int:
    """Copy members that other runs trained identically; their number, 0 in several processes.

    Identical: configuration (except the id), seeds, utterances, features and parts, by the digest
    in the member's record. Every byte of the copied weights is read. The copy has no predictions:
    `runs.train.train` makes them. `provenance.json` names the source of each copy. A damaged member
    is left to be trained. Raises `TrainingError` if the disk refuses the copy.
    """
    run, reused = prepared.run, dict[str, str]()
    splits = [split for some in all_splits(prepared) for split in some]
    new = {n: own for n, split in enumerate(splits) if (own := _unbegun(split, run))}
    known = _trained_beside(run) if new and not several() else {}
    if not known:
        return 0
    tasks = sorted({one.task for members in new.values() for one in members})
    # a digest is the same for any number of padded shapes
    examples = {task: prepared_examples(prepared, Reading(task, 1)) for task in tasks}
    for number, members in new.items():
        split, seed = splits[number], run.config.seed
        for config in members:
            data = data_of(config, examples[config.task], split.fit, split.held_out, seed)
            digest = training_digest(config, data, seed)
            if digest not in known:
                continue
            source, target = known[digest], split.member_folder(config.id)
            if _copied(source, target, config, digest):
                name = target.relative_to(run.folder).as_posix()
                reused[name] = source.relative_to(run.out).as_posix()
                keep_provenance(run, reused=reused_members(run) | reused)
    return len(reused)


def _unbegun(split: TrainingSplit, run: Run) -> list[MemberConfig]:
    """Members that the split lacks and has no folder of."""
    members = [one for one in run.config.members if split.lacks(one.id)]
    return [one for one in members if not split.member_folder(one.id).exists()]


def _copied(source: Path, target: Path, config: MemberConfig, digest: str) -> bool:
    """Copy a member; False if it is damaged. Raises `TrainingError` if the disk refuses."""
    kept = "members that were reused stay"
    try:
        with disk_errors(TrainingError, "a member of another run", target, kept):
            _copy(source, target, config, digest)
    except CheckpointError:
        return False
    return True


def _trained_beside(run: Run) -> dict[str, Path]:
    """Folders of the finished members of all other runs, by the digest of their training.

    Members whose record cannot be read are left out.
    """
    known: dict[str, Path] = {}
    for below in ("", "fold-*/", "inner-*/", "fold-*/inner-*/"):
        for record in sorted(run.out.glob(f"*/{below}members/*/member.json")):
            if run.folder in record.parents or record.parent.name.startswith("."):  # half a copy
                continue
            try:
                found = MemberFolder(record.parent).record()
            except CheckpointError:
                continue
            known.setdefault(found["training"], record.parent)
    return known


def _copy(source: Path, target: Path, config: MemberConfig, digest: str) -> None:
    """Copy a member without its predictions, under its new name, whole or not at all.

    Raises `CheckpointError` if its weights are damaged.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(OUTPUTS, JOINED, "*.tmp"))
    folder = MemberFolder(temporary)
    try:
        record = folder.verified(digest)
    except CheckpointError:
        shutil.rmtree(temporary)
        raise
    record |= {"member": config.model_dump(mode="json")}
    write_text(temporary / "member.json", json.dumps(record, indent=1) + "\n")
    temporary.rename(target)
