"""The rows of `medusa ablate`: each one's change of a member, in words and as configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

from medusa_jax.config.run import RunConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.errors import ConfigError


@dataclass(frozen=True)
class Change:
    """One row of the table: its change of a member, in words and as configuration.

    `paper` is the published mean Macro-F1 and its change in percent.
    """

    about: str
    settings: Mapping[str, Any]
    paper: tuple[float, float | None] | None = None


DEEPSER_ROWS: Mapping[str, Change] = MappingProxyType(
    {
        "deepser": Change("the members as the run has them", {}, (0.421, None)),
        "one_hot": Change(
            "the consensus class in place of the soft labels",
            {"training": {"targets": "one_hot"}},
            (0.389, -8.23),
        ),
        "late_fusion": Change("no fusion encoders", {"model": {"fusion": "late"}}, (0.396, -6.31)),
        "no_mixup": Change(
            "no Manifold MixUp", {"training": {"mixup_probability": 0}}, (0.409, -2.93)
        ),
        "no_multitask": Change(
            "no attribute loss", {"training": {"attribute_loss": 0}}, (0.412, -2.18)
        ),
        "no_stage2": Change(
            "no balanced second stage", {"training": {"stage2": {"epochs": 0}}}, (0.416, -1.20)
        ),
    }
)

SUMMER_ROWS: Mapping[str, Change] = MappingProxyType(
    {
        "summer": Change("the members as the run has them", {}),
        "top_k": Change(
            "the best experts in place of dynamic routing", {"conversation": {"routing": "top_k"}}
        ),
        "no_experts": Change(
            "one GRU in place of the experts", {"conversation": {"routing": "none"}}
        ),
        "plain_fusion": Change(
            "plain cross-attention in place of HCMF", {"conversation": {"fusion": "plain"}}
        ),
        "no_distillation": Change(
            "no loss from the teacher", {"conversation": {"distillation": 0, "feature_loss": 0}}
        ),
        "no_smoothing": Change("no smoothed labels", {"conversation": {"smoothed_loss": 0}}),
        "no_context": Change(
            "each utterance sees only itself", {"conversation": {"context": "none"}}
        ),
        "no_speakers": Change("no speaker embedding", {"conversation": {"speakers": "none"}}),
    }
)


def known_rows(config: RunConfig) -> dict[str, Change]:
    """The unchanged members, the rows above for the tasks of the members, and those of the
    configuration. Raises `ConfigError` for a repeated name.
    """
    built_in = _built_in(config)
    published = config.ablation.paper
    own = {}
    for name, row in config.ablation.rows.items():
        percent = row.paper and published and 100 * (row.paper / published - 1)
        paper = None if row.paper is None else (row.paper, percent)
        sections = row.model_dump(exclude={"about", "paper"})
        settings = {section: keys for section, keys in sections.items() if keys}
        own[name] = Change(row.about, settings, paper)
    if twice := sorted(own.keys() & built_in.keys()):
        raise ConfigError(
            f"there is a row {twice[0]!r} already",
            where=f"ablation.rows.{twice[0]}",
            hint="give it another name",
        )
    return {**built_in, **own}


def _built_in(config: RunConfig) -> dict[str, Change]:
    """The rows of the members' tasks, the unchanged one first."""
    found = dict[str, Change]()
    if any(member.task == "deepser" for member in config.members):
        found |= DEEPSER_ROWS
    speaking = [member for member in config.members if member.task == "conversation"]
    if speaking:
        rows = {**SUMMER_ROWS, **dict(_streams(speaking))}
        found |= {name: row for name, row in rows.items() if not found or row.settings}
    if found:
        return found
    published = config.ablation.paper
    score = None if published is None else (published, None)
    return {"finetuning": Change(DEEPSER_ROWS["deepser"].about, {}, score)}


def _streams(members: Sequence[MemberConfig]) -> Iterator[tuple[str, Change]]:
    """Rows of fewer modalities, and of other modalities of the teacher.

    Of those that all members share: each one, each pair, and as the teacher's each one and all.
    """
    first, *others = [member.modalities for member in members]
    shared = [name for name in first if all(name in own for own in others)]
    if len(shared) < 2:
        return
    for size in range(1, min(3, len(shared))):
        for own in combinations(shared, size):
            yield f"only_{'_'.join(own)}", Change(_words(own), {"modalities": own})
    for own in (*((name,) for name in shared), tuple(shared)):
        name = "all" if len(own) > 1 else own[0]
        settings = {"conversation": {"teacher": own}}
        yield f"teacher_{name}", Change(f"a teacher of {' and '.join(own)}", settings)


def _words(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} alone"
