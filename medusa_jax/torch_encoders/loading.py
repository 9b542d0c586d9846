"""Load a model from its folder through transformers and PyTorch.

Reads safetensors only, never connects to the hub and runs no code from the folder.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medusa_jax.errors import DependencyError, FeatureError
from medusa_jax.hub.model_folder import REFETCH
from medusa_jax.hub.preprocessing import explained

INSTALL = "pip install 'medusa-jax[torch]'"
"""How to get PyTorch."""

# Features do not pass through these parameters, so a checkpoint may lack them.
_UNUSED = re.compile(r"(^|\.)(pooler|masked_spec_embed)(\.|$)")


def load_model(folder: Path, loader: str = "AutoModel", because: Sequence[str] = ()) -> Any:
    """Load a model in float32 and evaluation mode with one of transformers' `AutoModel…` classes.

    Raises `DependencyError` without PyTorch, naming `because`, the model's options that only
    PyTorch can do; `FeatureError` if the weights are damaged or belong to another model.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        reason = f"; not ported to JAX: {'; '.join(because)}" if because else ""
        raise DependencyError(
            f"PyTorch is not installed{reason}", where=folder, hint=INSTALL
        ) from error
    with _quiet(), explained(folder):
        model, info = getattr(transformers, loader).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    _refuse_missing(info, folder)
    return _folded(model.eval())


def _refuse_missing(info: dict[str, Any], folder: Path) -> None:
    """Raise `FeatureError` for parameters that transformers would initialise at random."""
    missing = sorted(key for key in info["missing_keys"] if not _UNUSED.search(key))
    missing += sorted(str(key) for key in info["mismatched_keys"])
    if missing:
        raise FeatureError(
            f"the weights lack {len(missing)} of the model's parameters, such as {missing[0]}",
            where=folder,
            hint=REFETCH,
        )


def _folded(model: Any) -> Any:
    """Compute weight normalisation once instead of at every call."""
    from torch.nn.utils import parametrize

    for part in list(model.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' own progress bar."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
