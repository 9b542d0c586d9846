"""Which members train together: all that can read one stream of batches, as far as the device's memory goes."""

from collections.abc import Mapping, Sequence

from medusa_jax.config.training import MemberConfig
from medusa_jax.training.memory import Need, group_bytes


def stream_of(config: MemberConfig) -> tuple[int, int, bool]:
    """Members whose streams are equal draw the same batches."""
    return config.training.batch_size, config.training.shapes, config.training.no_consensus


def grouped(
    configs: Sequence[MemberConfig], needs: Mapping[str, Need], budget: int, side_by_side: bool
) -> list[list[MemberConfig]]:
    """The members in groups of one stream that need at most `budget` bytes each, in their order.

    A member that needs more by itself is its own group: needs are estimates from above, so that it may yet fit.
    """
    streams: dict[tuple[int, int, bool], list[MemberConfig]] = {}
    for config in configs:
        streams.setdefault(stream_of(config), []).append(config)
    groups = []
    for stream in streams.values():
        group: list[MemberConfig] = []
        for config in stream:
            if (
                group
                and group_bytes([needs[one.id] for one in (*group, config)], side_by_side) > budget
            ):
                groups.append(group)
                group = []
            group.append(config)
        groups.append(group)
    return groups
