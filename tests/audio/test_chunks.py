"""Encoding in overlapping chunks against encoding the whole utterance.

The same frames, nearly the same numbers, bounded memory.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_corpus import RATE

pytest.importorskip("torch")
from small_models import SPEECH, extractor_of, save_model

CHUNKED = {"chunk_seconds": 1.0, "overlap_seconds": 0.5}
WHOLE = {"chunk_seconds": 60.0, "overlap_seconds": 0.5}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved model by name, made once."""
    return functools.cache(lambda name: save_model(name, tmp_path_factory.mktemp("models") / name))


@pytest.fixture(scope="module")
def voice():
    """A waveform whose pitch and loudness wander, `[sample]`, 6.3 s."""
    rng = np.random.default_rng(0)
    seconds = np.arange(int(6.3 * RATE)) / RATE
    pitch = 150 + 50 * np.sin(2 * np.pi * 0.7 * seconds)
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (
        0.2 + 0.15 * np.sin(2 * np.pi * 1.3 * seconds)
    )
    return (wave + rng.standard_normal(len(wave)) * 0.02).astype(np.float32)


@pytest.mark.parametrize("name", SPEECH)
def test_the_number_of_frames_is_that_of_the_whole(saved, voice, name):
    chunked, whole = extractor_of(saved(name), **CHUNKED), extractor_of(saved(name), **WHOLE)
    for samples in (15_999, 16_079, 16_080, 16_399, 16_400, 16_401, 24_000, 40_321, len(voice)):
        (one,), (other,) = chunked([voice[:samples]]), whole([voice[:samples]])
        assert one.shape == other.shape == ((samples - 400) // 320 + 1, 32)
        untouched = (samples - 400) // 320 + 1 <= 50  # a chunk of one second
        assert np.array_equal(one, other) == untouched


@pytest.mark.parametrize("name", ["wavlm-large", "hubert-large"])
def test_what_enters_the_first_layer_is_that_of_the_whole(saved, voice, name):
    """The overlap covers all that the convolutions see: equal at every frame, seams included."""
    chunked, whole = (
        extractor_of(saved(name), "all", **settings)([voice])[0][:, :32]
        for settings in (CHUNKED, WHOLE)
    )
    np.testing.assert_allclose(chunked, whole, atol=1e-5 * np.abs(whole).max())
    narrow = extractor_of(saved(name), "all", chunk_seconds=1.0, overlap_seconds=0.04)([voice])[0][
        :, :32
    ]
    assert np.abs(narrow - whole).max() > 1e-2, "without enough context the seams show"


@pytest.mark.parametrize("name", SPEECH)
def test_the_last_layers_are_near_those_of_the_whole(saved, voice, name):
    """Attention spans the whole utterance, so chunks differ a little, most at the seams.

    Other audio differs by far more.
    """
    extractors = [
        extractor_of(saved(name), "sum_last_4", **settings) for settings in (CHUNKED, WHOLE)
    ]
    (chunked,), (whole,) = (extractor([voice]) for extractor in extractors)
    spread = np.abs(whole - whole.mean(axis=0)).mean()
    assert np.abs(chunked - whole).mean() < (0.1 if name.endswith("large") else 0.15) * spread
    assert np.abs(np.roll(whole, 50, axis=0) - whole).mean() > spread


def test_normalisation_is_over_the_whole_utterance(saved, voice):
    """The quiet first chunk is scaled with the loud second half.

    The utterance has one mean and one deviation.
    """
    loud = np.concatenate([voice * 0.1, voice])
    chunked, whole = (
        extractor_of(saved("wavlm-large"), "all", **settings)([loud])[0][:, :32]
        for settings in (CHUNKED, WHOLE)
    )
    np.testing.assert_allclose(chunked, whole, atol=1e-5 * np.abs(whole).max())


# Not ru_maxrss: a child inherits its parent's, and pytest's is large.
_PEAK = """
import sys
from pathlib import Path
import numpy as np
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.registry import build_extractor
config = HuggingFaceConfig(model=sys.argv[1], layers="last", chunk_seconds=float(sys.argv[3]))
wave = np.random.default_rng(0).standard_normal(int(sys.argv[2]) * 16_000).astype(np.float32)
(frames,) = build_extractor(config)([wave])
status = Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(len(frames), int(peak) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_square_of_the_length(saved):
    """Five minutes at once would need 15,000 x 15,000 weights a head: 3.6 GB for these four."""

    def peak(seconds, chunk):
        command = [sys.executable, "-c", _PEAK, str(saved("wavlm-large")), str(seconds), str(chunk)]
        frames, megabytes = map(
            int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        )
        assert frames == seconds * 50 - 1
        return megabytes

    short, long, whole = peak(60, 10), peak(300, 10), peak(60, 60)
    assert long < short + 250, "the waveform, its frames, and nothing else"
    assert whole > short + 100, "a minute at once is visible in the same measurement"


_GROWTH = """
import sys
from pathlib import Path
import numpy as np
from small_models import extractor_of

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

extractor, rng = extractor_of(Path(sys.argv[1])), np.random.default_rng(0)
for window in range(24):
    lengths = rng.uniform(8000, 24000, 32).astype(int)
    extractor([rng.standard_normal(n).astype(np.float32) for n in lengths])
    if window == 3:
        before = resident()
print(resident() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_utterances(saved):
    def growth(**environment):
        command = [sys.executable, "-c", _GROWTH, str(saved("wavlm-large"))]
        paths = {"PYTHONPATH": str(Path(__file__).parents[1] / "support")}
        return int(
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                env=os.environ | paths | environment,
            ).stdout
        )

    ours = growth()
    assert ours < 25, "megabytes from the 128th to the 768th utterance"
    assert growth(ONEDNN_PRIMITIVE_CACHE_CAPACITY="1024") > ours + 15, (
        "with the default of oneDNN it grows: the measurement detects it"
    )


def test_settings_that_matter_are_in_the_identity_and_no_others(saved):
    def identity(name, **settings):
        return extractor_of(saved(name), **settings).identity()

    plain = identity("wavlm-large")
    for settings in (
        {"chunk_seconds": 30.0},
        {"overlap_seconds": 2.0},
        {"compute": "bfloat16"},
        {"dtype": "float32"},
    ):
        assert identity("wavlm-large", **settings) != plain
    for settings in ({"device": "cpu"}, {"batch_seconds": 3.0}, {"window": "real"}):
        assert identity("wavlm-large", **settings) == plain
    assert identity("whisper", window="real") != identity("whisper")
    assert identity("whisper", chunk_seconds=30.0) == identity("whisper")
    assert identity("bert", chunk_seconds=30.0, window="real") == identity("bert")
