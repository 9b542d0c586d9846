"""Groups of members that train together: all that read one stream of batches, as far as the
device's memory goes.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from medusa_jax.training.memory import Need, group_bytes

Name = TypeVar("Name", bound=Hashable)


def grouped(
    streams: Mapping[Name, Hashable], needs: Mapping[Name, Need], budget: int, side_by_side: bool
) -> list[list[Name]]:
    """Members by name in groups of one stream that need at most `budget` bytes each, in their
    order.

    `streams` is equal for members that read the same batches. A member that needs more by itself is
    its own group: needs are estimates from above, so that it may yet fit.
    """
    alike: dict[Hashable, list[Name]] = {}
    for name, stream in streams.items():
        alike.setdefault(stream, []).append(name)
    groups: list[list[Name]] = []
    for names in alike.values():
        groups += _cut(names, needs, budget, side_by_side)
    return groups


def _cut(
    names: Sequence[Name], needs: Mapping[Name, Need], budget: int, side_by_side: bool
) -> list[list[Name]]:
    """`names` in as many groups as the budget asks for."""
    groups: list[list[Name]] = [[]]
    for name in names:
        more = [needs[one] for one in (*groups[-1], name)]
        if groups[-1] and group_bytes(more, side_by_side) > budget:
            groups.append([])
        groups[-1].append(name)
    return groups
