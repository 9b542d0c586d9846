"""Greedy and beam search over Whisper's decoder against transformers' `generate`."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from medusa_jax.backbones.whisper_weights import load_whisper
from medusa_jax.transcription.prompt import read_prompt
from medusa_jax.transcription.search import search

torch = pytest.importorskip("torch")
from small_whisper_decoders import (  # noqa: E402
    END,
    NEVER,
    NEVER_FIRST,
    encoded,
    energies,
    save_decoder,
)

ROWS = 8
SEEDS = (1, 2, 3)
"""Models without hypotheses whose scores are equal within rounding, as two of seed 0 are."""


@pytest.fixture(scope="module", params=SEEDS)
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = save_decoder(folder, request.param)
    return model, load_whisper(folder).decoder, read_prompt(folder, "en")


def theirs(model, mel_bdt, beams, tokens):
    """Tokens of each utterance up to the end."""
    with torch.inference_mode():
        made = model.generate(
            mel_bdt,
            num_beams=beams,
            do_sample=False,
            return_timestamps=False,
            max_new_tokens=tokens,
        )
    return [words(row) for row in made.numpy()]


@partial(jax.jit, static_argnums=(0, 2), static_argnames=("beams", "tokens"))
def found(graph, params, prompt, encoded_bsh, live_b, *, beams, tokens):
    """Compiled once for all weights."""
    decoder = nnx.merge(graph, params)
    return search(decoder, encoded_bsh, live_b, prompt, beams=beams, tokens=tokens)


def ours(decoder, prompt, encoded_bsh, beams, tokens, live_b=None):
    live_b = np.ones(len(encoded_bsh), bool) if live_b is None else live_b
    made = found(*nnx.split(decoder), prompt, encoded_bsh, live_b, beams=beams, tokens=tokens)
    return [words(row) for row in np.asarray(made)]


def words(row):
    row = [int(token) for token in row]
    return row[: row.index(END)] if END in row else row


@pytest.mark.parametrize(("beams", "tokens"), [(1, 20), (1, 3), (2, 20), (4, 20), (4, 3)])
def test_tokens_are_those_of_generate(both, beams, tokens):
    model, decoder, prompt = both
    mel_bdt = energies(ROWS)
    wanted = theirs(model, mel_bdt, beams, tokens)
    assert ours(decoder, prompt, encoded(model, mel_bdt), beams, tokens) == wanted
    if tokens == 20:
        lengths = {len(text) for text in wanted}
        assert len(lengths) > 1, "texts end early and late, or the test shows nothing"


@pytest.mark.parametrize("beams", [1, 4])
def test_tokens_do_not_depend_on_the_batch(both, beams):
    model, decoder, prompt = both
    encoded_bsh = encoded(model, energies(ROWS))
    together = ours(decoder, prompt, encoded_bsh, beams, 20)
    live_b = np.arange(ROWS) % 3 == 0
    some = ours(decoder, prompt, encoded_bsh[::-1], beams, 20, live_b)
    assert some == [text if live else [] for text, live in zip(together[::-1], live_b, strict=True)]


def test_suppressed_tokens_are_never_written(both):
    model, decoder, prompt = both
    for beams in (1, 4):
        texts = ours(decoder, prompt, encoded(model, energies(ROWS)), beams, 20)
        assert not {token for text in texts for token in text} & set(NEVER)
        assert not {text[0] for text in texts} & set(NEVER_FIRST)
        assert all(text for text in texts)


def test_the_prompt_is_read_before_the_first_word(both):
    """A longer one is as if its tokens had been written."""
    model, decoder, prompt = both
    encoded_bsh = encoded(model, energies(ROWS))
    texts = ours(decoder, prompt, encoded_bsh, 1, 20)
    row = max(range(ROWS), key=lambda row: len(texts[row]))
    longer = replace(prompt, start=(*prompt.start, *texts[row][:2]), never_first=())
    assert ours(decoder, longer, encoded_bsh[[row]], 1, 17) == [texts[row][2:19]]
