"""Whisper in Flax: waveforms to tokens in one program, greedy or by beams, no timestamps.

Legend: `b` window of a batch, `n` sample, `i` token.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.placement import devices_for, explained, kind_of
from medusa_jax.backbones.whisper_decoder import Whisper
from medusa_jax.backbones.whisper_weights import load_whisper
from medusa_jax.errors import MedusaError
from medusa_jax.hub.preprocessing import load_tokenizer
from medusa_jax.layers.matmul import matmul_precision
from medusa_jax.transcription.decoder import BATCH_SECONDS
from medusa_jax.transcription.prompt import read_prompt
from medusa_jax.transcription.search import search
from medusa_jax.transcription.source import Source


class FlaxDecoder:
    """A `Decoder` on JAX; a batch is shared by all devices of a host."""

    def __init__(self, source: Source) -> None:
        config = source.config
        self._devices = devices_for(config.device, config.compute)
        self._prompt = read_prompt(source.folder, config.language)
        self._tokenizer = load_tokenizer(source.folder)
        model = load_whisper(source.folder)
        self.window = model.config.window
        self._graph, params = nnx.split(model)
        self._params = self._devices.replicated(params)
        self._config, self._run = config, jax.jit(self._tokens)
        seconds = config.batch_seconds or BATCH_SECONDS[kind_of(self._devices)]
        self._rows = self._devices.multiple(max(1, round(seconds * RATE / self.window)))

    def __call__(self, waves: Sequence[np.ndarray]) -> list[str | MedusaError]:
        """Return the words of each waveform, decoded in batches of similar length.

        A batch takes as long as its longest text.
        """
        order = sorted(range(len(waves)), key=lambda place: -len(waves[place]))
        made = dict(zip(order, self._texts([waves[place] for place in order]), strict=True))
        return [made[place] for place in range(len(waves))]

    def _texts(self, waves: Sequence[np.ndarray]) -> Iterator[str | MedusaError]:
        """The words of each; a batch is fetched after the next one was started."""
        late: tuple[int, Any] | None = None
        for start in range(0, len(waves), self._rows):
            batch = waves[start : start + self._rows]
            now = len(batch), self._started(batch)
            if late is not None:
                yield from self._fetched(*late)
            late = now
        if late is not None:
            yield from self._fetched(*late)

    def _started(self, waves: Sequence[np.ndarray]) -> Any:
        """Tokens `[b, i]`, still being computed, or an error."""
        wave_bn = np.zeros((self._rows, self.window), np.float32)
        samples_b = np.zeros(self._rows, np.int32)
        live_b = np.arange(self._rows) < len(waves)
        for row, wave_n in enumerate(waves):
            wave_bn[row, : len(wave_n)] = wave_n
            samples_b[row] = len(wave_n)
        try:
            arrays = self._devices.spread((wave_bn, samples_b, live_b), self._rows)
            return self._run(self._params, *arrays)
        except jax.errors.JaxRuntimeError as error:
            return explained(error)

    def _tokens(
        self, params: Any, wave_bn: jax.Array, samples_b: jax.Array, live_b: jax.Array
    ) -> jax.Array:
        """The compiled program."""
        model: Whisper = nnx.merge(self._graph, params)
        compute = jnp.dtype(self._config.compute)
        with matmul_precision(self._config.compute):
            encoded_bsh = model.encoder.last(wave_bn, samples_b, compute)
            return search(
                model.decoder,
                encoded_bsh,
                live_b,
                self._prompt,
                beams=self._config.beams,
                tokens=self._config.max_tokens,
                compute=compute,
            )

    def _fetched(self, count: int, made: Any) -> Sequence[str | MedusaError]:
        """The words of a batch's `count` windows."""
        if isinstance(made, MedusaError):
            return [made] * count
        try:
            tokens_bi = np.asarray(made)[:count]
        except jax.errors.JaxRuntimeError as error:
            return [explained(error)] * count
        return list(map(str, self._tokenizer.batch_decode(tokens_bi, skip_special_tokens=True)))
