"""Members that another run under the same `out` has trained already, to the same bits: taken over instead of trained again.

A run with one more member or another meta-classifier, and a study with one more row or seed, is another run in another folder;
only what is new in it has to be trained.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from medusa_jax.config.training import MemberConfig
from medusa_jax.errors import CheckpointError, TrainingError
from medusa_jax.files import disk_errors, write_text
from medusa_jax.machines.processes import several
from medusa_jax.runs.prepare import Prepared
from medusa_jax.runs.provenance import keep_provenance, known_provenance
from medusa_jax.runs.run import JOINED, OUTPUTS, Run
from medusa_jax.runs.train import all_courses, examples_of
from medusa_jax.runs.training_splits import Course
from medusa_jax.training import checkpoint
from medusa_jax.training.member import digests_of_training


def adopt(prepared: Prepared) -> int:
    """Copy finished members from runs that trained them alike, and return how many; several processes take over none.

    Alike: same configuration (whatever its id), seeds, utterances, features and parts, which a member's checkpoint names by a
    digest; every byte of the copied weights is read. The copy has no outputs: `runs.train.train` makes them. `provenance.json` says
    what came from where. What is damaged there is trained here. Raises `TrainingError` if the disk refuses the copy.
    """
    run, adopted = prepared.run, dict[str, str]()
    courses = [course for fold in all_courses(prepared) for course in fold]
    lacking = [
        (course, members) for course in courses if (members := _unbegun(course, run.config.members))
    ]
    known = _trained_beside(run) if lacking and not several() else {}
    for course, members in lacking if known else ():
        examples = examples_of(
            prepared, members[0].training.shapes
        )  # corpus and features are the same for any number of shapes
        digests = digests_of_training(
            members, examples, course.fit, course.held_out, run.config.seed
        )
        for config in (one for one in members if digests[one.id] in known):
            source, target = known[digests[config.id]], course.member_folder(config.id)
            try:
                with disk_errors(
                    TrainingError,
                    "a member that another run trained",
                    target,
                    "what was taken over stays",
                ):
                    _copy(source, target, config, digests[config.id])
            except CheckpointError:
                continue
            adopted[target.relative_to(run.folder).as_posix()] = source.relative_to(
                run.out
            ).as_posix()
            keep_provenance(run, adopted=known_provenance(run).get("adopted", {}) | adopted)
    return len(adopted)


def _unbegun(course: Course, members: Sequence[MemberConfig]) -> list[MemberConfig]:
    """Those that the course lacks and has nothing of."""
    return [
        one for one in members if course.lacks(one.id) and not course.member_folder(one.id).exists()
    ]


def _trained_beside(run: Run) -> dict[str, Path]:
    """Folders of the finished members of all other runs, by the digest of their training; a record that cannot be read is nobody's."""
    known: dict[str, Path] = {}
    for below in ("", "fold-*/", "inner-*/", "fold-*/inner-*/"):
        for record in sorted(run.out.glob(f"*/{below}members/*/member.json")):
            if run.folder in record.parents or record.parent.name.startswith("."):  # half a copy
                continue
            try:
                json.loads(record.read_text(encoding="utf-8"))
                digest = checkpoint.newest_digest(record.parent / "checkpoints", "best")
            except (CheckpointError, OSError, ValueError):
                continue
            if digest is not None:
                known.setdefault(digest, record.parent)
    return known


def _copy(source: Path, target: Path, config: MemberConfig, digest: str) -> None:
    """All of a member but its outputs, under its new name, whole or not at all. Raises `CheckpointError` if its weights are damaged."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(OUTPUTS, JOINED, "*.tmp"))
    try:
        checkpoint.restore(temporary / "checkpoints", "best", digest)
    except CheckpointError:
        shutil.rmtree(temporary)
        raise
    record = json.loads((temporary / "member.json").read_text(encoding="utf-8"))
    write_text(
        temporary / "member.json",
        json.dumps(record | {"member": config.model_dump(mode="json")}, indent=1),
    )
    temporary.rename(target)
