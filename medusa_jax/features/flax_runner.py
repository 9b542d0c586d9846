"""Inputs through an encoder that is ported to JAX, in batches of few padded shapes, on all devices.

An input's shape follows from its own length alone, so its frames do not depend on the others.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.audio.chunks import BATCH_SECONDS, FRAMES_A_SECOND, Piece
from medusa_jax.backbones.placement import computed, devices_for, kind_of
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import MedusaError
from medusa_jax.layers.matmul import matmul_precision

_GROWTH = 2**0.25  # from one padded length to the next: at most a fifth is padding


class Encoder(Protocol):
    """A ported model, and how its inputs become arrays."""

    @property
    def model(self) -> nnx.Module:
        """Called with arrays and the dtype of operands, gives `States`."""
        ...

    def pieces(self, value: Any) -> list[Piece]:
        """An input in pieces that the model can take; none for an input without frames."""
        ...

    def rung(self, piece: Piece) -> int:
        """The frames that a piece is padded to: one of few."""
        ...

    def arrays(self, pieces: Sequence[Piece], rung: int, rows: int) -> tuple[np.ndarray, ...]:
        """The model's arguments, `rows` rows each; those without a piece hold anything valid."""
        ...


class Runner:
    """Pieces in, hidden states combined as `layers` says out."""

    def __init__(self, encoder: Encoder, config: HuggingFaceConfig, layers: str) -> None:
        self._encoder, self._devices = encoder, devices_for(config.device, config.compute)
        graph, params = nnx.split(encoder.model)
        run = partial(_combined, graph, layers=layers, compute=config.compute)
        self._run, self._params = jax.jit(run), self._devices.replicated(params)
        self.pieces = encoder.pieces
        seconds = config.batch_seconds or BATCH_SECONDS[kind_of(self._devices)]
        self._frames = round(seconds * FRAMES_A_SECOND)  # of a batch, padding included

    def run(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, np.ndarray | MedusaError]]:
        """Yield every piece with its kept frames `[t, width]`, float32, or an error."""
        for batch, made in computed(self._batches(pieces), self._started, self._devices):
            for row, piece in enumerate(batch):
                if isinstance(made, MedusaError):
                    yield piece, made
                else:
                    yield piece, made[row, : piece.frames][piece.keep]

    def _batches(self, pieces: Sequence[Piece]) -> Iterator[tuple[Sequence[Piece], int]]:
        """Pieces of one padded length, and the rows of their batch."""
        for rung, some in self._by_rung(pieces).items():
            rows = self._devices.multiple(max(1, self._frames // max(rung, some[0].size)))
            for first in range(0, len(some), rows):
                batch = some[first : first + rows]
                # the last one with few rows, but for a power of two of them: few programs
                own = self._devices.multiple(2 ** math.ceil(math.log2(len(batch))))
                yield batch, min(rows, own)

    def _by_rung(self, pieces: Sequence[Piece]) -> dict[int, list[Piece]]:
        """Pieces by their padded number of frames, the longest first."""
        found: dict[int, list[Piece]] = {}
        for piece in pieces:
            found.setdefault(self._encoder.rung(piece), []).append(piece)
        return dict(sorted(found.items(), reverse=True))

    def _started(self, pieces: Sequence[Piece], rows: int) -> jax.Array:
        """The frames of a batch `[rows, rung, width]`, still being computed."""
        arrays = self._encoder.arrays(pieces, self._encoder.rung(pieces[0]), rows)
        frames_btd: jax.Array = self._run(self._params, *self._devices.spread(arrays, rows))
        return frames_btd


def rung_of(frames: int, shortest: int) -> int:
    """The next of few lengths, each a fifth above the last."""
    rung = shortest
    while rung < frames:
        rung = round(rung * _GROWTH)
    return rung


def _combined(
    graph: nnx.GraphDef, params: Any, *arrays: jax.Array, layers: str, compute: str
) -> jax.Array:
    """The states of a batch, combined as `layers` says `[b, t, width]`."""
    model: Any = nnx.merge(graph, params)
    with matmul_precision(compute):
        if layers == "conv":
            frames_btc: jax.Array = model.convolutions(*arrays, jnp.dtype(compute))[0]
            return frames_btc
        states_lbth = model(*arrays, jnp.dtype(compute)).states_lbth
    if layers == "last":
        return states_lbth[-1]
    if layers == "all":
        count, b, t, h = states_lbth.shape
        return states_lbth.transpose(1, 2, 0, 3).reshape(b, t, count * h)
    total_bth = states_lbth[-4:].sum(axis=0)
    return total_bth / 4 if layers == "mean_last_4" else total_bth
