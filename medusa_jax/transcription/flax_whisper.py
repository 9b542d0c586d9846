"""Whisper in Flax: waveforms to tokens in one program, greedy or by beams, no timestamps.

Legend: `b` window of a batch, `n` sample, `i` token.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.audio.chunks import in_rows
from medusa_jax.audio.decode import RATE
from medusa_jax.backbones.placement import computed, devices_for, kind_of
from medusa_jax.backbones.whisper_decoder import Whisper
from medusa_jax.backbones.whisper_weights import load_whisper
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import MedusaError
from medusa_jax.hub.preprocessing import load_tokenizer
from medusa_jax.layers.matmul import matmul_precision
from medusa_jax.transcription.decoder import BATCH_SECONDS
from medusa_jax.transcription.prompt import Prompt, read_prompt
from medusa_jax.transcription.search import search
from medusa_jax.transcription.source import Source


class FlaxDecoder:
    """A `Decoder` on JAX; a batch is shared by all devices of a host."""

    def __init__(self, source: Source) -> None:
        config = source.config
        self._devices = devices_for(config.device, config.compute)
        prompt = read_prompt(source.folder, config.language)
        self._tokenizer = load_tokenizer(source.folder)
        model = load_whisper(source.folder)
        self.window = model.config.window
        graph, params = nnx.split(model)
        self._params = self._devices.replicated(params)
        # no method: in a circle of references, the weights would stay on the device
        self._run = jax.jit(partial(_tokens, graph, prompt, config))
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
        """The words of each."""
        starts = range(0, len(waves), self._rows)
        batches = ((waves[start : start + self._rows], self._rows) for start in starts)
        for batch, made in computed(batches, self._started, self._devices):
            if isinstance(made, MedusaError):
                yield from [made] * len(batch)
            else:
                tokens_bi = made[: len(batch)]
                yield from map(
                    str, self._tokenizer.batch_decode(tokens_bi, skip_special_tokens=True)
                )

    def _started(self, waves: Sequence[np.ndarray], rows: int) -> jax.Array:
        """Tokens `[b, i]` of a batch, still being computed."""
        wave_bn, samples_b = in_rows(waves, rows, self.window)
        live_b = np.arange(rows) < len(waves)
        arrays = self._devices.spread((wave_bn, samples_b, live_b), rows)
        tokens_bi: jax.Array = self._run(self._params, *arrays)
        return tokens_bi


def _tokens(
    graph: nnx.GraphDef,
    prompt: Prompt,
    config: TranscriptionConfig,
    params: Any,
    wave_bn: jax.Array,
    samples_b: jax.Array,
    live_b: jax.Array,
) -> jax.Array:
    """The compiled program: tokens `[b, i]`."""
    model: Whisper = nnx.merge(graph, params)
    compute = jnp.dtype(config.compute)
    with matmul_precision(config.compute):
        encoded_bsh = model.encoder.last(wave_bn, samples_b, compute)
        return search(
            model.decoder,
            encoded_bsh,
            live_b,
            prompt,
            beams=config.beams,
            tokens=config.max_tokens,
            compute=compute,
        )
