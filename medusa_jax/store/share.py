"""A share of a store's shards: what one of several processes makes, so that a corpus can be extracted by many at once."""

from dataclasses import dataclass
from typing import Self

from medusa_jax.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """Share `index` of `count`, counted from 1: every `count`-th shard."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """`3/8` → the third of eight. Raises `ConfigError` for anything else, `0/8` and `9/8` included."""
        index, slash, count = text.partition("/")
        digits = slash and all(part.isascii() and part.isdigit() for part in (index, count))
        if not digits or not 1 <= int(index) <= int(count):
            hint = "write i/n, counted from 1: --shard 1/8, --shard 2/8, … --shard 8/8"
            raise ConfigError(f"{text!r} is no share of the shards", where="--shard", hint=hint)
        return cls(int(index), int(count))

    def shards(self, total: int) -> range:
        """Which of `total` shards are its: disjoint from every other share's, and together all."""
        return range(self.index - 1, total, self.count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


EVERYTHING = Share()
