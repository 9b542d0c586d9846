"""A store in memory reads as the one on disk that the same frames would make."""

import numpy as np
import pytest

from medusa_jax.errors import StoreError
from medusa_jax.store.ledger import Failure, Plan
from medusa_jax.store.memory import MemoryStore
from medusa_jax.store.shard import MappedShard, as_stored, write_batches


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_frames_are_those_of_a_shard(dtype, tmp_path):
    rng = np.random.default_rng(0)
    clips = [as_stored(name, rng.normal(size=(n, 5)), dtype) for name, n in (("a", 3), ("b", 1))]
    failure = Failure(id="c", audio="c.wav", error="AudioError", message="too short")
    plan = Plan(
        extractor={}, corpus="new", inputs="", width=5, dtype=dtype, utterances=3, shard_rows=3
    )
    store = MemoryStore(plan, clips, [failure])
    write_batches(tmp_path / "shard", [clips], dtype)
    written = MappedShard(tmp_path / "shard").rows(5, dtype)
    assert store.ids == ("a", "b")
    assert store.lengths.tolist() == [3, 1]
    for name, wanted in zip(store.ids, written, strict=True):
        decoded = wanted.decoded() if dtype == "int8" else wanted
        np.testing.assert_array_equal(store.frames(name), decoded)
    assert (store.stored("a")[1] is None) == (dtype != "int8")
    with pytest.raises(StoreError, match="too short"):
        store.frames("c")
