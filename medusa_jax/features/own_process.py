"""Extraction in a child process, whose GPU memory is free again when it ends.

PyTorch keeps the memory it has used until its process ends, and JAX takes most of a GPU when it
starts; in one process, neither leaves room for the other. The child gets one JSON document on
standard input and writes JSON lines: progress, warnings, and at the end its result or its error.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import FrameType
from typing import IO, Any, NoReturn

from pydantic import TypeAdapter

from medusa_jax import errors
from medusa_jax.config.features import ExtractorConfig, HuggingFaceConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError, Interrupted, MedusaError
from medusa_jax.store.share import Share

_MODULE = "medusa_jax.features.own_process"
_AGAIN = "run the same command again: finished shards are kept"


def wants_own_process(config: ExtractorConfig | TranscriptionConfig) -> bool:
    """Return whether `config` is a pretrained model on CUDA."""
    if not isinstance(config, HuggingFaceConfig | TranscriptionConfig) or config.device == "cpu":
        return False
    if config.device != "auto":
        return True
    try:
        import torch
    except ImportError:
        return isinstance(config, TranscriptionConfig) and config.backend == "faster-whisper"
    return bool(torch.cuda.is_available())


def fill_in_own_process(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    root: Path,
    share: Share,
    *,
    progress: Callable[[int, int], None] | None,
    **options: float | None,
) -> tuple[int, ...]:
    """Run `extract_share` in a child process; return the shards still missing.

    Raises what it raises. When this process is interrupted, the child is stopped first.
    """
    with TemporaryDirectory(prefix="medusa-extract-") as folder:
        table = Path(folder) / "corpus.parquet"
        corpus.save(table)
        task = {
            "corpus": str(table),
            "transcribes": isinstance(config, TranscriptionConfig),
            "config": config.model_dump(mode="json"),
            "root": str(Path(root).absolute()),
            "share": str(share),
            "options": options,
        }
        with _child(task) as (child, lines):
            result = _followed(lines, progress)
        if result is None:
            _refuse_silence(child.returncode)
        return tuple(result)


@contextmanager
def _child(task: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start the child, and stop it when the block is left early."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
    child = subprocess.Popen(
        (sys.executable, "-m", _MODULE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(task) + "\n")
        child.stdin.flush()  # and kept open: the child stops when this process ends
        yield child, child.stdout
        child.wait()
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()
        child.stdin.close()


def _followed(lines: IO[str], progress: Callable[[int, int], None] | None) -> list[int] | None:
    """Pass on progress and warnings until the child's result; None if it ended without one."""
    for line in lines:
        message = json.loads(line)
        if "missing" in message:
            missing: list[int] = message["missing"]
            return missing
        if "error" in message:
            raise _error(message)
        if "log" in message:
            logging.getLogger(message["log"]).log(message["level"], "%s", message["text"])
        elif progress:
            progress(message["done"], message["total"])
    return None


def _error(message: dict[str, Any]) -> MedusaError:
    """Return the typed error that the child raised."""
    kind: type[MedusaError] = getattr(errors, message["error"])
    return kind(message["what"], where=message["where"], hint=message["hint"])


def _refuse_silence(code: int) -> NoReturn:
    """Raise `FeatureError` for a child that ended without a result."""
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    hint = f"if memory ran out, lower batch_seconds; otherwise see the output above, and {_AGAIN}"
    raise FeatureError(f"the process that extracts features {reason}", hint=hint)


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
        send(error=Interrupted.__name__, what="stopped as asked", where=None, hint=_AGAIN)
        return Interrupted.exit_code
    except MedusaError as error:
        where = None if error.where is None else str(error.where)
        send(error=type(error).__name__, what=error.what, where=where, hint=error.hint)
        return error.exit_code
    return 0


def _extract(task: dict[str, Any], progress: Callable[[int, int], None]) -> tuple[int, ...]:
    from medusa_jax.features.extract import extract_share

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
