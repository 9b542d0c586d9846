"""Named arrays in a safetensors file: equal arrays and facts are equal bytes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from medusa_jax.files import write_whole

FACTS = "facts"
"""The one entry of the file's metadata. Of several, safetensors writes the order at random."""


def save_tensors(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays, and `facts` as JSON in the file's metadata, whole or not at all."""
    with write_whole(path) as temporary:
        save_file(dict(arrays), temporary, metadata={FACTS: json.dumps(facts, sort_keys=True)})
