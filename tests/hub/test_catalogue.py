"""The catalogue of encoders: pinned entries, and mistyped names refused."""

import pytest

from medusa_jax.errors import ConfigError
from medusa_jax.hub.catalogue import ENCODERS, hub_id_of


def test_every_entry_is_pinned_to_a_whole_commit():
    assert list(ENCODERS) == [
        "wavlm-large",
        "hubert-large",
        "whisper-large-v3",
        "roberta-large",
        "modernbert-large",
    ]
    for name, entry in ENCODERS.items():
        assert entry.name == name
        assert len(entry.revision) == 40
        assert set(entry.revision) <= set("0123456789abcdef")
        assert entry.hub_id.count("/") == 1


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("wavlm-larg", "wavlm-large"),
        ("whisper-large-v2", "whisper-large-v3"),
        ("modernbert_large", "modernbert-large"),
    ],
)
def test_a_mistyped_entry_is_not_looked_for_on_the_hub(mistyped, meant):
    with pytest.raises(ConfigError, match="no encoder of this name") as caught:
        hub_id_of(mistyped)
    assert meant in str(caught.value)
    assert hub_id_of(f"hf:{mistyped}") == (mistyped, None)
    assert hub_id_of("bert-base-uncased") == ("bert-base-uncased", None)
