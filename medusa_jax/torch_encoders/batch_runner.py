"""Batches through an encoder: on a CPU several at once, on CUDA the next one launched while the last is fetched; halved where memory runs out."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Piece
from medusa_jax.errors import FeatureError, MedusaError
from medusa_jax.torch_encoders.device import Placement

log = logging.getLogger(__name__)
WORKERS = 8
"""Batches at once on a CPU, at most: each has its own activations in memory."""

Fetched = tuple[Sequence[Piece], Any, Any]
"""Pieces; their frames on the host, or an error; the CUDA event after which those frames are there."""


class Runner:
    """Calls `forward` (pieces of a batch → `[b, t, width]` on the device) and hands the frames out."""

    def __init__(self, forward: Callable[[Sequence[Piece]], Any], placement: Placement) -> None:
        self._forward, self._placement = forward, placement

    def __call__(
        self, batches: Sequence[Sequence[Piece]]
    ) -> Iterator[tuple[Piece, np.ndarray | MedusaError]]:
        """Every piece with the frames it keeps `[t, width]`, float32, or with why there are none; in the order of `batches`."""
        for pieces, result, event in (
            self._in_threads(batches)
            if self._placement.device.type == "cpu"
            else self._overlapped(batches)
        ):
            if event is not None:
                event.synchronize()
            for place, piece in enumerate(pieces):
                yield (
                    piece,
                    result
                    if isinstance(result, MedusaError)
                    else result[place, : piece.frames][piece.keep],
                )

    def _in_threads(self, batches: Sequence[Sequence[Piece]]) -> Iterator[Fetched]:
        """One core a batch beats all cores on one: small products do not wait for each other's threads."""
        import torch

        cores = torch.get_num_threads()
        workers = max(1, min(cores, WORKERS, len(batches)))
        pool = ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(cores // workers,)
        )
        try:
            for fetched in pool.map(self._attempt, batches):
                yield from fetched
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(cores)  # what the workers set holds for threads yet to come too

    def _overlapped(self, batches: Sequence[Sequence[Piece]]) -> Iterator[Fetched]:
        """A launch returns before its work is done: fetch each batch after the next was launched."""
        launched: list[Fetched] = []
        for batch in batches:
            latest = self._attempt(batch)
            yield from launched
            launched = latest
        yield from launched

    def _attempt(self, pieces: Sequence[Piece]) -> list[Fetched]:
        """The batch, or its halves where it does not go through: one bad piece must not take its neighbours with it."""
        import torch

        try:
            with torch.inference_mode():
                return [(pieces, *self._fetch(self._forward(pieces)))]
        except Exception as error:
            reason = explained(
                error
            )  # not the error itself: its traceback would keep the tensors alive
        if len(pieces) == 1:
            return [(pieces, reason, None)]
        log.warning("a batch of %d is halved: %s", len(pieces), reason.what)
        if self._placement.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(pieces) // 2
        return self._attempt(pieces[:half]) + self._attempt(pieces[half:])

    def _fetch(self, frames_btd: Any) -> tuple[Any, Any]:
        """The frames as a NumPy array, and the event to wait for before they are read."""
        import torch

        if frames_btd.device.type == "cpu":
            return frames_btd.numpy(), None
        host = torch.empty(frames_btd.shape, dtype=frames_btd.dtype, pin_memory=True)
        host.copy_(frames_btd, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host.numpy(), event


def explained(error: Exception) -> MedusaError:
    """Why one batch did not go through, as its inputs' error."""
    import torch

    if isinstance(error, MedusaError):
        return error.with_traceback(None)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(
        error
    ):
        hint = "lower batch_seconds, or for long audio chunk_seconds, or compute in bfloat16"
        return FeatureError(f"the encoder runs out of memory: {hint}", hint=hint)
    return FeatureError(f"the encoder failed: {type(error).__name__}: {error}")
