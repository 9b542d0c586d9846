"""A small corpus, a store of it and a folder of .npy files, for the tests of this folder."""

import numpy as np
import pytest
from small_corpus import small_corpus

from medusa_jax.config.features import LogMelConfig
from medusa_jax.features.extract import extract

COUNT = 10


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("forms") / "corpus", COUNT)


@pytest.fixture(scope="session")
def made(corpus, tmp_path_factory):
    """Log-mel in float32, four shards; one utterance failed."""
    missing = corpus.audio_path(4)
    content = missing.read_bytes()
    missing.unlink()
    store = extract(
        corpus,
        LogMelConfig(dtype="float32"),
        tmp_path_factory.mktemp("forms") / "store",
        shard_rows=3,
        max_failures=0.1,
    )
    missing.write_bytes(content)
    return store


@pytest.fixture
def files(corpus, tmp_path):
    """One array per utterance as the published code writes them, some with an extra axis."""
    folder = tmp_path / "npy"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row, id in enumerate(corpus.frame["id"]):
        x_td = rng.standard_normal((3 + row, 8)).astype(("float32", "float16", "float64")[row % 3])
        np.save(folder / id.replace(".wav", ".npy"), x_td[None] if row % 2 else x_td)
    return folder
