"""Load what prepares a model's inputs, its tokenizer or feature extractor; neither needs PyTorch.

transformers reads them from the model's folder, never connects to the hub and runs no code of it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medusa_jax.errors import FeatureError
from medusa_jax.hub.model_folder import REFETCH

# Without PyTorch transformers would say, as it is imported, that models are not available.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

_VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("spm.model",),
)


def load_preprocessor(folder: Path) -> Any:
    """Load the feature extractor. Raises `FeatureError` if the folder has none."""
    from transformers import AutoFeatureExtractor

    with explained(folder):
        return AutoFeatureExtractor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer. Raises `FeatureError` if the folder has none."""
    # Without a vocabulary, transformers silently builds an empty tokenizer.
    if not any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES):
        raise FeatureError("the model has no tokenizer", where=folder, hint=REFETCH)
    from transformers import AutoTokenizer

    with explained(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn any error of transformers (OSError, ValueError, KeyError, …) into a `FeatureError`."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FeatureError(
            f"the model does not load: {reason}", where=folder, hint=REFETCH
        ) from error
