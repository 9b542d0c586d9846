"""Keys that were added later leave digests as they were, as long as they are not set."""

from typing import ClassVar

import pytest

from medusa_jax.config.ensemble import EnsembleConfig
from medusa_jax.config.section import DIGEST, Config


class _Inner(Config):
    added: ClassVar = frozenset({"new"})
    old: int = 1
    new: str | None = None


class _Outer(Config):
    parts: tuple[_Inner, ...] = (_Inner(),)


def test_an_added_key_is_digested_only_where_it_is_set() -> None:
    unset, given = _Outer(), _Outer(parts=(_Inner(new="x"), _Inner(old=2)))
    assert unset.model_dump(context=DIGEST) == {"parts": ({"old": 1},)}
    assert given.model_dump(context=DIGEST) == {"parts": ({"old": 1, "new": "x"}, {"old": 2})}


def test_any_other_dump_is_whole() -> None:
    assert _Outer().model_dump() == {"parts": ({"old": 1, "new": None},)}
    assert _Outer.model_validate(_Outer().model_dump()) == _Outer()


@pytest.mark.parametrize("settings", [{"updates": 100}, {"select": "last"}])
def test_the_ensembles_added_keys_change_the_digest_when_set(settings: dict[str, object]) -> None:
    plain = EnsembleConfig().model_dump(context=DIGEST)
    assert EnsembleConfig.model_validate(settings).model_dump(context=DIGEST) == plain | settings
