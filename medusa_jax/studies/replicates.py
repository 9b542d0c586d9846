"""Members trained again with other seeds: the same configuration, other initial weights, dropout and MixUp.

The run's own seed stays, and with it the order of the utterances and who is held out: the spread over replicates is that of
training, not of data.
"""

import numpy as np

from medusa_jax.config.training import MemberConfig


def replicate(member: MemberConfig, number: int, name: str) -> MemberConfig:
    """Replicate `number` (from 1) of a member, called `name`: the first keeps the member's seed, the others' seeds follow from it."""
    seed = (
        member.seed
        if number == 1
        else int(np.random.SeedSequence((member.seed, number)).generate_state(1)[0])
    )
    return member.model_copy(update={"id": name, "seed": seed})
