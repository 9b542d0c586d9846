"""A folder's config.json: options, keys and values that cannot be used, in one form of error."""

import json

import pytest

from medusa_jax.backbones.config_file import read_ported
from medusa_jax.errors import FeatureError


@pytest.mark.parametrize(
    ("settings", "what", "hint"),
    [
        ({"model_type": "a", "width": "2"}, "not ported to JAX: one; two", "choose another"),
        ({"model_type": "b"}, "config.json has no 'width'", "fetch the model again"),
        ({"model_type": "b", "width": "x"}, "config.json cannot be used", "fetch the model again"),
        ({"model_type": "b", "width": None}, "config.json cannot be used", "fetch the model again"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_error(tmp_path, settings, what, hint):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings))

    def unported(given):
        return ["one", "two"] if given["model_type"] == "a" else []

    with pytest.raises(FeatureError) as caught:
        read_ported(tmp_path, unported, lambda given: int(given["width"]), "choose another")
    assert caught.value.what.startswith(what)
    assert (caught.value.where, caught.value.hint) == (path, hint)


def test_a_config_that_can_be_used(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"width": "2"}))
    assert read_ported(tmp_path, lambda _: [], lambda given: int(given["width"])) == 2
