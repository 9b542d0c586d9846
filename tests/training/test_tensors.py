"""Equal arrays and facts are equal bytes, in whatever process and order."""

import hashlib

import numpy as np

from medusa_jax.training.tensors import save_tensors


def test_equal_arrays_and_facts_are_equal_bytes(tmp_path):
    arrays = {f"a{i}": np.arange(i + 1.0) for i in range(5)}
    facts = {f"fact{i}": i for i in range(9)}
    digests = set()
    for number in range(12):
        path = tmp_path / f"{number}.safetensors"
        save_tensors(path, arrays, dict(sorted(facts.items(), reverse=number % 2 == 1)))
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
