"""Run batches through an encoder.

On a CPU several batches run at once; on CUDA the next one is launched while the last is fetched.
A batch that does not fit into memory is halved.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from medusa_jax.audio.chunks import Piece
from medusa_jax.backbones.failures import failure
from medusa_jax.errors import MedusaError
from medusa_jax.torch_encoders.device import Placement

log = logging.getLogger(__name__)
WORKERS = 8
"""Maximum number of batches at once on a CPU: each holds its own activations in memory."""

Fetched = tuple[Sequence[Piece], Any, Any]
"""Pieces; their frames on the host, or an error; the CUDA event that marks the copy's end."""


class Runner:
    """Calls `forward` (pieces → `[b, t, width]` on the device) and returns the frames."""

    def __init__(self, forward: Callable[[Sequence[Piece]], Any], placement: Placement) -> None:
        self._forward, self._placement = forward, placement

    def __call__(
        self, batches: Sequence[Sequence[Piece]]
    ) -> Iterator[tuple[Piece, np.ndarray | MedusaError]]:
        """Yield every piece, in order, with its kept frames `[t, width]`, float32, or an error."""
        on_cpu = self._placement.device.type == "cpu"
        run = self._in_threads if on_cpu else self._overlapped
        for pieces, result, event in run(batches):
            if event is not None:
                event.synchronize()
            for place, piece in enumerate(pieces):
                if isinstance(result, MedusaError):
                    yield piece, result
                else:
                    yield piece, result[place, : piece.frames][piece.keep]

    def _in_threads(self, batches: Sequence[Sequence[Piece]]) -> Iterator[Fetched]:
        """Run one batch per core: faster than all cores on one batch of small products."""
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
            torch.set_num_threads(cores)  # the workers' setting also applies to new threads

    def _overlapped(self, batches: Sequence[Sequence[Piece]]) -> Iterator[Fetched]:
        """Fetch each batch after the next one was launched, so that the device has work."""
        launched: list[Fetched] = []
        for batch in batches:
            latest = self._attempt(batch)
            yield from launched
            launched = latest
        yield from launched

    def _attempt(self, pieces: Sequence[Piece]) -> list[Fetched]:
        """Run the batch, or its halves if that fails: one bad piece must not fail the others."""
        import torch

        try:
            with torch.inference_mode():
                return [(pieces, *self._fetch(self._forward(pieces)))]
        except Exception as error:
            # Keep the reason, not the error: its traceback would keep the tensors alive.
            reason = explained(error)
        if len(pieces) == 1:
            return [(pieces, reason, None)]
        log.warning("a batch of %d is halved: %s", len(pieces), reason.what)
        if self._placement.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(pieces) // 2
        return self._attempt(pieces[:half]) + self._attempt(pieces[half:])

    def _fetch(self, frames_btd: Any) -> tuple[Any, Any]:
        """Return the frames as a NumPy array, and the event to wait for before reading them."""
        import torch

        if frames_btd.device.type == "cpu":
            return frames_btd.numpy(), None
        host = torch.empty(frames_btd.shape, dtype=frames_btd.dtype, pin_memory=True)
        host.copy_(frames_btd, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host.numpy(), event


def explained(error: Exception) -> MedusaError:
    """Turn the error of a batch into a typed error of its inputs."""
    import torch

    if isinstance(error, MedusaError):
        return error.with_traceback(None)
    full = isinstance(error, torch.OutOfMemoryError | MemoryError)
    full = full or "can't allocate memory" in str(error)
    return failure(f"{type(error).__name__}: {error}", out_of_memory=full)
