"""Words hashed to vectors."""

import subprocess
import sys

import numpy as np
import pytest

from medusa_jax.config.features import HashedTextConfig
from medusa_jax.features.hashed_text import ngrams_of, words_of
from medusa_jax.features.registry import build_extractor


def test_hashed_text_golden_values():
    """Frozen, in every process and on every machine."""
    frame = build_extractor(HashedTextConfig(width=16))(["Hello"])[0][0]
    small, middle, large = 0.2178458, 0.5367942, 0.6535375
    expected = [0, -small, -middle, 0, 0, 0, 0, small, 0, small, 0, -large, small, small, 0, small]
    np.testing.assert_allclose(frame, expected, atol=1e-6)


def test_hashed_text_does_not_depend_on_the_process():
    code = (
        "from medusa_jax.config.features import HashedTextConfig; import hashlib;"
        "from medusa_jax.features.registry import build_extractor;"
        "frames = build_extractor(HashedTextConfig())(['I am so happy!'])[0];"
        "print(hashlib.sha256(frames.tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": s}, capture_output=True, check=True
        ).stdout
        for s in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("text", ["", " ", "\n", "...", "— “”"])
def test_a_transcript_without_words_is_one_zero_frame(text):
    frames = build_extractor(HashedTextConfig())([text])[0]
    assert frames.shape == (1, 128)
    assert not frames.any()


def test_one_unit_frame_a_word():
    frames = build_extractor(HashedTextConfig(width=16))(
        ["Well, I'm " + " ".join(f"word{i}" for i in range(500))]
    )[0]
    assert len(frames) == 502
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's GREAT, isn't it?!", ["it's", "great", "isn't", "it", "?", "!"]),
        ("Café … naïve", ["café", "naïve"]),
        ("ﬁne", ["fine"]),
        ("a-b", ["a", "b"]),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_ngrams_mark_the_ends_of_the_word():
    assert ngrams_of("abc", 3, 4) == ["<ab", "abc", "bc>", "<abc", "abc>"]
    assert ngrams_of("a", 4, 5) == []


def test_relatives_are_nearer_than_strangers():
    happy, happily, table = build_extractor(HashedTextConfig(width=1024))(["happy happily table"])[
        0
    ]
    assert happy @ happily > 0.15
    assert abs(happy @ table) < 0.1
