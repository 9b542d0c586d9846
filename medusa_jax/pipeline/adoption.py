"""Members that a run beside this one has trained already, to the same bits: taken over instead of trained again.

A study with one more row, member or seed is another run in another folder; only what is new in it has to be trained.
"""

import shutil
from pathlib import Path

from medusa_jax.pipeline.run_folder import JOINED, OUTPUTS, keep_provenance, known_provenance
from medusa_jax.pipeline.steps import Prepared, all_courses, examples_of
from medusa_jax.training import checkpoint
from medusa_jax.training.member import digest_of_training


def adopt(prepared: Prepared) -> int:
    """Copy finished members from runs of the same name that trained them alike, and return how many.

    Alike: same id, configuration, seeds, utterances, features and parts, which a member's checkpoint names by a digest. The
    copy has no outputs; `steps.train` makes them, and reads every byte of the weights for it. `provenance.json` says what
    came from where. Raises `CheckpointError` if a record of theirs is damaged.
    """
    run, adopted = prepared.run, {}
    others = sorted(path.parent for path in run.out.glob(f"{run.config.name}-*/config.yaml") if path.parent.name != run.folder.name)
    for course in (course for fold in all_courses(prepared) for course in fold):
        for config in run.config.members:
            target = course.member_folder(config.id)
            place = target.relative_to(run.folder)
            wanted = course.lacks(config.id) and not target.exists()
            found = [other for other in others if (other / place / "member.json").exists()] if wanted else []
            if not found:
                continue
            digest = digest_of_training(config, examples_of(prepared, config.training.shapes), course.fit, course.held_out, run.config.seed)
            alike = [other for other in found if checkpoint.newest_digest(other / place / "checkpoints", "best") == digest]
            if alike:
                _copy(alike[0] / place, target)
                adopted[place.as_posix()] = alike[0].name
    if adopted:
        keep_provenance(run, adopted=known_provenance(run).get("adopted", {}) | adopted)
    return len(adopted)


def _copy(source: Path, target: Path) -> None:
    """All of a member but its outputs, whole or not at all."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(OUTPUTS, JOINED, "*.tmp"))
    temporary.rename(target)
