"""Waveforms through an encoder that is ported to JAX, in batches of few padded shapes.

An utterance's shape follows from its own length alone, so its frames do not depend on the others.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.audio.chunks import Grid, Piece
from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.speech_weights import load_speech
from medusa_jax.backbones.wav2vec2 import SpeechBackbone
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.errors import FeatureError, MedusaError
from medusa_jax.layers.matmul import matmul_precision
from medusa_jax.torch_encoders.device import BATCH_SECONDS

_GROWTH = 2**0.25  # from one padded length to the next: at most a fifth is padding
_SHORTEST = 50  # frames


class FlaxSpeech:
    """Pieces of waveform in, combined hidden states out."""

    def __init__(self, folder: Path, feeder: Any, config: HuggingFaceConfig, layers: str) -> None:
        if config.compute == "float16":
            raise FeatureError(
                "float16 is not ported to JAX", where="compute", hint="use bfloat16 or float32"
            )
        self.device = device_of(config.device)
        self._feeder, self._config = feeder, config
        model = load_speech(folder)
        graph, params = nnx.split(model)
        run = partial(_combined, graph, layers=layers, compute=config.compute)
        self._run, self._params = jax.jit(run), jax.device_put(params, self.device)
        self._grid = Grid.of(model.config.conv_kernel, model.config.conv_stride)

    def pieces(self, wave_n: np.ndarray) -> list[Piece]:
        """The utterance as the model expects it, in chunks: see `Grid.pieces`."""
        seconds = self._config.chunk_seconds, self._config.overlap_seconds
        return self._grid.pieces(wave_n, self._feeder, *seconds)

    def run(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, np.ndarray | MedusaError]]:
        """Yield every piece with its kept frames `[t, width]`, float32, or an error.

        A batch is fetched after the next one was started, so that the device has work.
        """
        late: tuple[list[Piece], Any] | None = None
        for rung, some in _by_rung(pieces).items():
            rows = max(1, self._budget // rung)
            for first in range(0, len(some), rows):
                batch = some[first : first + rows]
                now = batch, self._started(batch, rung, rows)
                if late is not None:
                    yield from _fetched(*late)
                late = now
        if late is not None:
            yield from _fetched(*late)

    def _started(self, pieces: Sequence[Piece], rung: int, rows: int) -> Any:
        """The frames of a batch `[rows, rung, width]`, still being computed, or an error."""
        samples = (rung - 1) * self._grid.stride + self._grid.field
        wave_bn = np.zeros((rows, samples), np.float32)
        valid_b = np.full(rows, self._grid.field, np.int32)  # rows without a piece: one frame
        for row, piece in enumerate(pieces):
            wave_bn[row, : len(piece.values)] = piece.values[:samples]
            valid_b[row] = min(len(piece.values), samples)
        try:
            return self._run(self._params, *jax.device_put((wave_bn, valid_b), self.device))
        except jax.errors.JaxRuntimeError as error:
            return _explained(error)

    @cached_property
    def _budget(self) -> int:
        """Frames of a batch, padding included."""
        seconds = self._config.batch_seconds
        if seconds is None:
            seconds = BATCH_SECONDS["cpu" if self.device.platform == "cpu" else "cuda"]
        return round(seconds * RATE / self._grid.stride)


def device_of(name: str) -> jax.Device:
    """The device of a configuration's name. Raises `FeatureError` if there is none such."""
    kind, _, number = name.partition(":")
    try:
        found = jax.local_devices(backend=None if kind == "auto" else kind)
        return found[int(number or 0)]
    except (RuntimeError, IndexError) as error:
        hint = "set device: auto, or install JAX with CUDA: pip install 'medusa-jax[cuda]'"
        raise FeatureError("there is no such device", where=f"device: {name}", hint=hint) from error


def _combined(
    graph: nnx.GraphDef,
    params: Any,
    wave_bn: jax.Array,
    samples_b: jax.Array,
    *,
    layers: str,
    compute: str,
) -> jax.Array:
    """The states of a batch, combined as `layers` says `[b, t, width]`."""
    model: SpeechBackbone = nnx.merge(graph, params)
    with matmul_precision(compute):
        states_lbth = model(wave_bn, samples_b, jnp.dtype(compute)).states_lbth
    if layers == "last":
        return states_lbth[-1]
    if layers == "all":
        count, b, t, h = states_lbth.shape
        return states_lbth.transpose(1, 2, 0, 3).reshape(b, t, count * h)
    total_bth = states_lbth[-4:].sum(axis=0)
    return total_bth / 4 if layers == "mean_last_4" else total_bth


def _by_rung(pieces: Sequence[Piece]) -> dict[int, list[Piece]]:
    """Pieces by their padded number of frames, the longest first."""
    found: dict[int, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(_rung(piece.frames), []).append(piece)
    return dict(sorted(found.items(), reverse=True))


def _rung(frames: int) -> int:
    """The next of few lengths, each a fifth above the last."""
    rung = _SHORTEST
    while rung < frames:
        rung = round(rung * _GROWTH)
    return rung


def _fetched(pieces: Sequence[Piece], made: Any) -> Iterator[tuple[Piece, Any]]:
    """Each piece with its frames on the host."""
    if not isinstance(made, MedusaError):
        try:
            made = np.asarray(made)
        except jax.errors.JaxRuntimeError as error:
            made = _explained(error)
    for row, piece in enumerate(pieces):
        if isinstance(made, MedusaError):
            yield piece, made
        else:
            yield piece, made[row, : piece.frames][piece.keep]


def _explained(error: Exception) -> MedusaError:
    """A failed batch as an error of its inputs."""
    if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):
        hint = "lower batch_seconds, or for long audio chunk_seconds, or compute in bfloat16"
        return FeatureError(f"the encoder ran out of memory: {hint}", hint=hint)
    return FeatureError(f"the encoder failed: {str(error).splitlines()[0]}")
