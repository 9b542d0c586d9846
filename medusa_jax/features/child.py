"""The child process of `own_process`: extract one share of a store.

It reads one JSON document from standard input and writes JSON lines to standard output: progress,
warnings, and at the end its result or its error.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from pydantic import TypeAdapter

from medusa_jax.config.features import ExtractorConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import Interrupted, MedusaError
from medusa_jax.features.extract import extract_share
from medusa_jax.features.own_process import AGAIN
from medusa_jax.store.share import Share


def main() -> int:
    """Read the task from standard input and work on it; return the exit code."""
    # Messages go to the pipe on descriptor 1; whatever a library prints goes to standard error.
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def send(**message: object) -> None:
        pipe.write(json.dumps(message) + "\n")

    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger().addHandler(_Forward(send))
    try:
        task = json.loads(sys.stdin.readline())
        Thread(target=_stop_with_parent, daemon=True).start()
        send(missing=_extract(task, lambda done, total: send(done=done, total=total)))
    except KeyboardInterrupt:
        send(error=Interrupted.__name__, what="stopped as asked", where=None, hint=AGAIN)
        return Interrupted.exit_code
    except MedusaError as error:
        where = None if error.where is None else str(error.where)
        send(error=type(error).__name__, what=error.what, where=where, hint=error.hint)
        return error.exit_code
    return 0


def _extract(task: dict[str, Any], progress: Callable[[int, int], None]) -> tuple[int, ...]:
    kind: Any = TranscriptionConfig if task["transcribes"] else ExtractorConfig
    _, missing = extract_share(
        Corpus.load(Path(task["corpus"])),
        TypeAdapter(kind).validate_python(task["config"]),
        Path(task["root"]),
        Share.parse(task["share"]),
        **task["options"],
        own_process=False,
        progress=progress,
    )
    return missing


class _Forward(logging.Handler):
    """Sends warnings to the parent."""

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._send(log=record.name, level=record.levelno, text=record.getMessage())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # not an Exception: an extractor does not mistake it for a bad file


def _stop_with_parent() -> None:
    """Wait for the end of standard input, which ends with the parent, and then stop."""
    os.read(0, 1)  # not sys.stdin, whose lock this thread would hold at the interpreter's end
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
