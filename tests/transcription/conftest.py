"""A tiny Whisper, a corpus and its transcripts, for the tests of this folder."""

import pytest
from small_corpus import small_corpus

from medusa_jax.features.extract import extract


@pytest.fixture(scope="session")
def whisper(tmp_path_factory):
    pytest.importorskip("torch")
    from small_whisper import save_whisper

    return save_whisper(tmp_path_factory.mktemp("models") / "whisper-tiny")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Ten noises, one of them not audio."""
    made = small_corpus(tmp_path_factory.mktemp("corpus"), 10)
    made.audio_path(6).write_bytes(b"not audio")
    return made


@pytest.fixture(scope="session")
def store(whisper, corpus, tmp_path_factory):
    """The corpus transcribed in one go, four utterances a shard."""
    from small_whisper import config_of

    return extract(
        corpus,
        config_of(whisper),
        tmp_path_factory.mktemp("stores") / "whole",
        max_failures=0.2,
        shard_rows=4,
    )
