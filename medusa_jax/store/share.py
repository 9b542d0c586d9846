"""A share of a store's shards, so that several processes can extract one corpus."""

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
        """Parse `3/8`, the third of eight. Raises `ConfigError` for anything else."""
        index, slash, count = text.partition("/")
        digits = slash and all(part.isascii() and part.isdigit() for part in (index, count))
        if not digits or not 1 <= int(index) <= int(count):
            hint = "write i/n, counted from 1: --shard 1/8, --shard 2/8, … --shard 8/8"
            raise ConfigError(f"{text!r} is no share of the shards", where="--shard", hint=hint)
        return cls(int(index), int(count))

    def shards(self, total: int) -> range:
        """Return the share's shards among `total`; all shares together cover each shard once."""
        return range(self.index - 1, total, self.count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


EVERYTHING = Share()
