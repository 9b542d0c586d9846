"""The loader: the same items at any depth, never too far ahead, errors in their turn, nothing left
behind.
"""

import threading
import time

import jax
import numpy as np
import pytest
from toy_task import COUNT, toy_examples

from medusa_jax.batches.examples import gather
from medusa_jax.batches.prefetch import Loader
from medusa_jax.errors import StoreError
from medusa_jax.store.ledger import shard_path

DEPTHS = [0, 1, 2, 5, 100]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("medusa-loader")]


@pytest.mark.parametrize("depth", DEPTHS)
def test_all_in_order_and_never_too_far_ahead(depth):
    made = []

    def make(row):
        made.append(row)
        return row * 10

    with Loader(make, range(20), depth) as loader:
        for k, item in enumerate(loader):
            assert item == k * 10
            time.sleep(0.002)
            assert len(made) <= k + 1 + depth
            if 0 < depth < 10 < k < 15:
                assert len(made) > k + 1, "nothing was made ahead"
    assert made == list(range(20)), "twice, or in another order"
    assert not threads()


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_error_comes_in_its_turn_and_keeps_its_type(depth):
    def make(row):
        if row == 3:
            raise StoreError("shard 7 is damaged", where="here")
        return row

    seen = []
    with (
        pytest.raises(StoreError, match="shard 7") as caught,
        Loader(make, range(9), depth) as loader,
    ):
        seen.extend(loader)
    assert seen == [0, 1, 2]
    assert caught.value.where == "here"
    assert not threads()


@pytest.mark.parametrize("depth", DEPTHS)
def test_leaving_early_leaves_no_thread_behind(depth):
    made = []
    with Loader(made.append, range(1000), depth) as loader:
        for _ in loader:
            assert len(threads()) == 1
            break
    assert not threads()
    count = len(made)
    time.sleep(0.02)
    assert len(made) == count <= 1 + depth


def test_nothing_to_load():
    with Loader(str, []) as loader:
        assert list(loader) == []


def test_it_knows_how_long_the_loop_waited():
    def slowly(row):
        time.sleep(0.02)
        return row

    with Loader(slowly, range(10)) as starved:
        assert len(list(starved)) == 10
    assert starved.waited > 0.15
    with Loader(slowly, range(10)) as busy:
        for _ in busy:
            time.sleep(0.04)
    assert busy.waited < 0.1


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("toy") / "stores"


@pytest.fixture(scope="module")
def examples(stores):
    return toy_examples(stores)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_batch_in_flight_is_not_overwritten(examples, depth):
    """A CPU device may read a batch where NumPy assembled it, so every batch needs its own
    memory.
    """
    rows = np.random.default_rng(0).permutation(COUNT).reshape(-1, 8)
    with Loader(lambda row: jax.device_put(examples.batch(row)), rows, depth) as loader:
        held = list(loader)
    for row, batch in zip(rows, held, strict=True):
        jax.tree.map(np.testing.assert_array_equal, batch, examples.batch(row))
    one, other = examples.batch(rows[0]), examples.batch(rows[1])
    assert not any(np.shares_memory(one.inputs[name], other.inputs[name]) for name in one.inputs)


def test_a_damaged_shard_stops_the_loop_by_name(examples):
    path = shard_path(examples.stores[1].folder, 1)
    content = path.read_bytes()
    fresh = [type(store).open(store.folder) for store in examples.stores]
    damaged = gather(
        examples.corpus,
        examples.modalities,
        dict(zip(examples.modalities, fresh, strict=True)),
        shapes=1,
    )
    path.chmod(0o644)
    path.write_bytes(content[:-200] + bytes([content[-200] ^ 1]) + content[-199:])
    try:
        seen = []
        with (
            pytest.raises(StoreError, match=path.name),
            Loader(damaged.batch, np.arange(80).reshape(-1, 8)) as loader,
        ):
            seen.extend(loader)
        assert len(seen) == 5, "the first shard holds forty"
    finally:
        path.write_bytes(content)
