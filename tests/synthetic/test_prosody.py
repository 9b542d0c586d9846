"""Settings of the synthesiser and attributes of an emotion stay within their bounds."""

import numpy as np

from medusa_jax.synthetic.prosody import FIELDS, Voice, affect_of, prosody


def test_prosody_names_every_field_and_stays_in_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = prosody(rng.dirichlet(np.full(8, 0.2)), Voice.draw("Male", rng), rng)
        assert tuple(values) == FIELDS
        assert min(values["jitter"], values["shimmer"], values["breath"]) > 0
    attributes_ba = affect_of(np.eye(8))
    assert attributes_ba.min() >= 1
    assert attributes_ba.max() <= 7
