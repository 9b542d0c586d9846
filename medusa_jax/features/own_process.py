"""Extraction in a child process, whose GPU memory is free again when it ends.

PyTorch and CTranslate2 keep the memory they have used until their process ends, and JAX takes most
of a GPU when it starts; in one process, neither leaves room for the other. A model that JAX runs
needs no child: it works in the memory that training works in later.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NoReturn

from medusa_jax import errors
from medusa_jax.config.features import ExtractorConfig, HuggingFaceConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError, MedusaError
from medusa_jax.features.extractor import Extractor
from medusa_jax.store.share import Share
from medusa_jax.torch_encoders import device as torch_device
from medusa_jax.transcription import faster_whisper

CHILD = "medusa_jax.features.child"
"""The module that the child runs."""
AGAIN = "run the same command again: finished shards are kept"


def wants_own_process(config: ExtractorConfig | TranscriptionConfig, extractor: Extractor) -> bool:
    """Tell whether the extractor of `config` is a model that PyTorch or CTranslate2 runs on CUDA.

    For a model that JAX runs, PyTorch is not even imported.
    """
    if not isinstance(config, HuggingFaceConfig | TranscriptionConfig):
        return False
    if "torch" in extractor.packages:
        return torch_device.uses_cuda(config.device)
    if "ctranslate2" in extractor.packages:
        return faster_whisper.uses_cuda(config.device)
    return False


def fill_in_own_process(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    root: Path,
    share: Share,
    *,
    in_jax: bool,
    progress: Callable[[int, int], None] | None,
    **options: float | None,
) -> tuple[int, ...]:
    """Run `extract_share` in a child process; return the shards still missing.

    JAX may use a GPU there only if the model runs `in_jax`. Raises what `extract_share` raises.
    When this process is interrupted, the child is stopped first.
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
        with _child(task, {} if in_jax else {"JAX_PLATFORMS": "cpu"}) as (child, lines):
            result = _followed(lines, progress)
        if result is None:
            _refuse_silence(child.returncode)
        return tuple(result)


@contextmanager
def _child(
    task: dict[str, Any], variables: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start the child, and stop it when the block is left early."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths, **variables}
    child = subprocess.Popen(
        (sys.executable, "-m", CHILD),
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
    hint = f"if memory ran out, lower batch_seconds; otherwise see the output above, and {AGAIN}"
    raise FeatureError(f"the process that extracts features {reason}", hint=hint)
