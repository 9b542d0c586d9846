"""Dialogues in the rows of a batch, one behind the other.

Legend: `b` row, `u` utterance of a row, `t` querying utterance, `s` utterance that is seen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Rows(NamedTuple):
    """Places of utterances in their dialogues."""

    mask_bu: Bool[Array, "b u"]
    dialogue_bu: Int[Array, "b u"]  # its number in the row
    place_bu: Int[Array, "b u"]  # in its dialogue
    reverse_bu: Int[Array, "b u"]  # the utterance in its place if each dialogue ran backwards
    follows_bu: Bool[Array, "b u"]  # the next place holds its own dialogue's next utterance

    def visible(self, present_bu: Bool[Array, "b u"], context: str) -> Bool[Array, "b t s"]:
        """Utterances of a stream that each utterance may see: real ones of its dialogue where the
        stream is present, in the configured context.
        """
        index_u = jnp.arange(self.mask_bu.shape[1])
        same_bts = self.dialogue_bu[:, :, None] == self.dialogue_bu[:, None, :]
        sees_bts = same_bts & (self.mask_bu & present_bu)[:, None, :]
        if context == "past":
            return sees_bts & (index_u <= index_u[:, None])
        return sees_bts & (index_u == index_u[:, None]) if context == "none" else sees_bts


def rows_of(mask_bu: Bool[Array, "b u"], first_bu: Bool[Array, "b u"]) -> Rows:
    """Rows whose real utterances (`mask`) stand at the front; `first` marks those that begin a
    dialogue.
    """
    index_u = jnp.arange(mask_bu.shape[1])
    follows_bu = jnp.roll(mask_bu & ~first_bu, -1, axis=1).at[:, -1].set(False)
    start_bu = jax.lax.cummax(jnp.where(first_bu, index_u, 0), axis=1)
    stop_bu = jax.lax.cummin(jnp.where(follows_bu, len(index_u), index_u), axis=1, reverse=True)
    reverse_bu = jnp.where(mask_bu, start_bu + stop_bu - index_u, index_u)
    dialogue_bu = first_bu.cumsum(axis=1)
    return Rows(mask_bu, dialogue_bu, index_u - start_bu, reverse_bu, follows_bu)
