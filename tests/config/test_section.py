"""Keys that were added later leave digests as they were, as long as they are not set."""

import pytest

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.section import DIGEST, Config
from medusa_jax.config.training import StageConfig, TrainingConfig


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        (EnsembleConfig, {"updates": 100}),
        (EnsembleConfig, {"select": "last"}),
        (TrainingConfig, {"selection": "class_weighted"}),
    ],
)
def test_an_added_key_is_digested_only_where_it_is_set(
    section: type[Config], settings: dict[str, object]
) -> None:
    plain = section().model_dump(context=DIGEST)
    assert not plain.keys() & section.added
    assert section.model_validate(settings).model_dump(context=DIGEST) == plain | settings


def test_any_other_dump_is_whole() -> None:
    for section in (EnsembleConfig(), TrainingConfig(), StageConfig(epochs=1)):
        dumped = section.model_dump()
        assert dumped.keys() == type(section).model_fields.keys()
        assert type(section).model_validate(dumped) == section
