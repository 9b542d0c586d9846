"""The likeliest words of what was heard: greedy search, and beam search as transformers does it.

Legend: `b` utterance, `k` hypothesis (beam), `c` candidate (2k of an utterance), `i` written token,
`s` frame heard, `h` hidden, `v` token of the vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from medusa_jax.backbones.whisper_decoder import Keys, WhisperDecoder
from medusa_jax.transcription.prompt import Prompt

_NEVER = -1e9  # a score below all others, to which others are added


class Written(NamedTuple):
    """Texts so far; those that ended are filled up with the end."""

    length: Array
    last_bk: Array
    tokens_bki: Array
    own: list[Keys]


class Beams(NamedTuple):
    """The running hypotheses, the ended ones, and which utterances may still gain."""

    written: Written
    scores_bk: Array
    ended_bki: Array
    ended_scores_bk: Array
    has_ended_bk: Array
    open_b: Array


def search(
    decoder: WhisperDecoder,
    encoded_bsh: Float[Array, "b s h"],
    live_b: Bool[Array, " b"],
    prompt: Prompt,
    *,
    beams: int,
    tokens: int,
    compute: DTypeLike = jnp.float32,
) -> Int[Array, "b i"]:
    """At most so many tokens of each utterance, filled up with the end; of those that are not
    `live`, the end alone.
    """
    heard = decoder.heard(encoded_bsh, compute)
    begun = _begun(decoder, heard, prompt, len(live_b), beams, tokens, compute)
    step = _Step(decoder, heard, prompt, compute)
    return _greedy(step, begun, live_b) if beams == 1 else _beams(step, begun, live_b)


class _Step:
    """The decoder's next scores."""

    def __init__(
        self, decoder: WhisperDecoder, heard: list[Keys], prompt: Prompt, compute: DTypeLike
    ) -> None:
        self.decoder, self.heard, self.compute = decoder, heard, compute
        self.end, self.first = prompt.end, len(prompt.start) - 1
        self.never_v = np.zeros(decoder.config.vocabulary, bool)
        self.never_v[list(prompt.never)] = True
        self.never_first_v = self.never_v.copy()
        self.never_first_v[list(prompt.never_first)] = True

    def __call__(self, written: Written) -> tuple[Array, list[Keys]]:
        """Logits `[b, k, v]` of the next token, and the cache."""
        position = self.first + written.length
        x_bkh, own = self.decoder(written.last_bk, position, written.own, self.heard, self.compute)
        return self.decoder.logits(x_bkh, self.compute), own

    def allowed(self, scores_bkv: Array, length: Array) -> Array:
        """Scores without those of suppressed tokens."""
        never_v = jnp.where(length == 0, self.never_first_v, self.never_v)
        return jnp.where(never_v, -jnp.inf, scores_bkv)


def _begun(
    decoder: WhisperDecoder,
    heard: list[Keys],
    prompt: Prompt,
    b: int,
    k: int,
    tokens: int,
    compute: DTypeLike,
) -> Written:
    """Nothing written yet, all tokens of the prompt but the last in the cache."""
    before = jnp.array(prompt.start[:-1], jnp.int32)

    def read(own: list[Keys], now: tuple[Array, Array]) -> tuple[list[Keys], None]:
        token, position = now
        return decoder(jnp.full((b, k), token), position, own, heard, compute)[1], None

    own = decoder.empty(b * k, len(before) + tokens, compute)
    if len(before):
        own, _ = jax.lax.scan(read, own, (before, jnp.arange(len(before))))
    last_bk = jnp.full((b, k), prompt.start[-1], jnp.int32)
    ends_bki = jnp.full((b, k, tokens), prompt.end, jnp.int32)
    return Written(jnp.int32(0), last_bk, ends_bki, own)


def _greedy(step: _Step, begun: Written, live_b: Array) -> Array:
    """The likeliest token at each step."""
    tokens = begun.tokens_bki.shape[2]

    def unfinished(state: tuple[Written, Array]) -> Array:
        return (state[0].length < tokens) & state[1].any()

    def write(state: tuple[Written, Array]) -> tuple[Written, Array]:
        written, live_bk = state
        logits_bkv, own = step(written)
        next_bk = step.allowed(logits_bkv, written.length).argmax(axis=-1).astype(jnp.int32)
        next_bk = jnp.where(live_bk, next_bk, step.end)
        tokens_bki = written.tokens_bki.at[:, :, written.length].set(next_bk)
        now = Written(written.length + 1, next_bk, tokens_bki, own)
        return now, live_bk & (next_bk != step.end)

    written, _ = jax.lax.while_loop(unfinished, write, (begun, live_b[:, None]))
    return written.tokens_bki[:, 0]


def _beams(step: _Step, begun: Written, live_b: Array) -> Array:
    """The best of k hypotheses, by log-probability a token; transformers' `early_stopping=False`:
    an utterance is done when its best running hypothesis is worse than all that have ended.
    """
    b, k, tokens = begun.tokens_bki.shape
    first_bk = jnp.broadcast_to(jnp.where(jnp.arange(k) == 0, 0.0, _NEVER), (b, k))
    start = Beams(
        begun,
        first_bk,
        begun.tokens_bki,
        jnp.full((b, k), _NEVER),
        jnp.zeros((b, k), bool),
        live_b,
    )

    def unfinished(beams: Beams) -> Array:
        return (beams.written.length < tokens) & beams.open_b.any()

    done = jax.lax.while_loop(unfinished, lambda beams: _advanced(step, beams), start)
    return done.ended_bki[:, 0]


def _advanced(step: _Step, beams: Beams) -> Beams:
    """One token more for every running hypothesis."""
    written, (b, k, tokens) = beams.written, beams.written.tokens_bki.shape
    logits_bkv, own = step(written)
    scores_bkv = step.allowed(jax.nn.log_softmax(logits_bkv), written.length)
    scores_bkv += beams.scores_bk[:, :, None]
    v = scores_bkv.shape[2]
    scores_bc, place_bc = jax.lax.top_k(scores_bkv.reshape(b, k * v), 2 * k)
    from_bc, next_bc = place_bc // v, place_bc % v
    texts_bci = _chosen(written.tokens_bki, from_bc).at[:, :, written.length].set(next_bc)
    length = written.length + 1
    ends_bc = (next_bc == step.end) | (length == tokens)
    running_bc = scores_bc + jnp.where(ends_bc, _NEVER, 0)
    scores_bk, going_bk = jax.lax.top_k(running_bc, k)
    own = _reordered(own, _chosen(from_bc, going_bk))
    going = Written(length, _chosen(next_bc, going_bk), _chosen(texts_bci, going_bk), own)
    ended = _ended(beams, texts_bci, scores_bc, ends_bc, length)
    best_b = scores_bk[:, 0] / length
    worst_bk = jnp.where(ended.has_ended_bk, ended.ended_scores_bk.min(axis=1)[:, None], _NEVER)
    open_b = beams.open_b & (best_b[:, None] > worst_bk).any(axis=1)
    return ended._replace(written=going, scores_bk=scores_bk, open_b=open_b)


def _ended(
    beams: Beams, texts_bci: Array, scores_bc: Array, ends_bc: Array, length: Array
) -> Beams:
    """The best k of the ended hypotheses and of those of the first k candidates that end now."""
    k = beams.scores_bk.shape[1]
    now_bc = ends_bc & (jnp.arange(2 * k) < k)
    scores_bc = scores_bc / length
    scores_bc += jnp.where(beams.open_b[:, None], 0, _NEVER) + jnp.where(now_bc, 0, _NEVER)
    scores = jnp.concatenate([beams.ended_scores_bk, scores_bc], axis=1)
    scores_bk, best_bk = jax.lax.top_k(scores, k)
    texts = jnp.concatenate([beams.ended_bki, texts_bci], axis=1)
    have = jnp.concatenate([beams.has_ended_bk, now_bc], axis=1)
    return beams._replace(
        ended_bki=_chosen(texts, best_bk),
        ended_scores_bk=scores_bk,
        has_ended_bk=_chosen(have, best_bk),
    )


def _chosen(x: Array, place: Array) -> Array:
    """Along the second axis, the entries at `place`."""
    return jnp.take_along_axis(x, place.reshape(place.shape + (1,) * (x.ndim - 2)), axis=1)


def _reordered(own: list[Keys], from_bk: Array) -> list[Keys]:
    """The cache of each hypothesis's own past."""
    b, k = from_bk.shape
    row_r = (jnp.arange(b)[:, None] * k + from_bk).reshape(-1)
    return jax.tree.map(lambda x_rnse: x_rnse[row_r], own)
