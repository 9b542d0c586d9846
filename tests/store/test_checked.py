"""Digests of shards, verified once: when first read, all at once, or ahead of use."""

import threading
import time
from collections import Counter

import pytest

from medusa_jax.errors import StoreError
from medusa_jax.store.checked import CheckedShards
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.shard import MappedShard

COUNT = 20


@pytest.fixture
def calls():
    return Counter()


@pytest.fixture
def shards(calls):
    """Twenty shards, the seventh of which is damaged."""

    def check(shard):
        calls[shard] += 1
        time.sleep(0.002)
        if shard == 7:
            raise StoreError("shard 7 is damaged")
        return [shard]

    return CheckedShards(COUNT, check)


def settled(calls):
    """Wait until every shard was checked."""
    end = time.monotonic() + 10
    while len(calls) < COUNT and time.monotonic() < end:
        time.sleep(0.005)


def test_a_shard_is_checked_once_whatever_reads_it(shards, calls):
    shards.verify_ahead()
    readers = [threading.Thread(target=lambda: [shards[i] for i in range(7)]) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    settled(calls)
    assert {calls[shard] for shard in range(COUNT) if shard != 7} == {1}
    assert shards[11] == [11]


def test_a_damaged_shard_raises_where_it_is_read(shards, calls):
    shards.verify_ahead()
    settled(calls)
    assert shards[8] == [8]
    with pytest.raises(StoreError, match="shard 7"):
        shards[7]
    with pytest.raises(StoreError, match="shard 7"):
        shards.verify()


def test_a_verified_store_is_not_hashed_again(made, monkeypatch):
    hashed, sha256 = [], MappedShard.sha256
    monkeypatch.setattr(MappedShard, "sha256", lambda shard: (hashed.append(1), sha256(shard))[1])
    store = FeatureStore.open(made.folder)
    store.verify()
    assert len(hashed) == store.plan.shards
    for id in store.ids:
        store.frames(id)
    assert len(hashed) == store.plan.shards
