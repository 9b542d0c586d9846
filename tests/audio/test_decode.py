"""Audio files of every kind → 16 kHz mono float32: levels, channels, rates, lengths."""

import tracemalloc

import numpy as np
import pytest
import soundfile
from audio_files import tone, write

from medusa_jax.audio import decode as audio
from medusa_jax.audio.decode import RATE, load_audio, read_audio, seconds_of
from medusa_jax.errors import AudioError

RATES = [8000, 11025, 22050, 44100, 48000, 96000]


def test_full_scale_is_one_and_samples_are_kept(tmp_path):
    wave = load_audio(write(tmp_path / "a.wav", tone(RATE), subtype="FLOAT"))
    assert wave.dtype == np.float32
    assert wave.flags.c_contiguous
    np.testing.assert_allclose(wave, tone(RATE), atol=1e-6)
    assert load_audio(write(tmp_path / "b.wav", np.full(100, -1.0), subtype="PCM_16")).min() == -1


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_U8", 1 / 128),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-6),
        ("a.wav", "FLOAT", 1e-6),
        ("a.wav", "DOUBLE", 1e-6),
        ("a.wav", "ULAW", 0.02),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.au", "PCM_16", 1e-4),
        ("a.rf64", "PCM_16", 1e-4),
        ("a.w64", "PCM_16", 1e-4),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
        ("a.ogg", "VORBIS", 0.1),
        ("a.ogg", "OPUS", 0.2),
        ("a.mp3", "MPEG_LAYER_III", 0.1),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_holds_the_same_sound(tmp_path, name, subtype, error, channels):
    speech = np.repeat((tone(RATE, 1.0) * np.hanning(RATE))[:, None], channels, axis=1)
    sound = read_audio(write(tmp_path / name, speech, subtype=subtype))
    assert sound.warnings == ()
    np.testing.assert_allclose(sound.wave_n, speech[:, 0], atol=error)
    assert seconds_of(tmp_path / name) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["a.mp3", "a.bin", "a", "a.WAV", "á ü.wav"])
def test_the_content_of_a_file_counts_and_not_its_name(tmp_path, name):
    np.testing.assert_allclose(
        load_audio(write(tmp_path / name, tone(RATE), format="WAV", subtype="FLOAT")),
        tone(RATE),
        atol=1e-6,
    )


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_averaged(tmp_path, channels):
    one = np.zeros((RATE // 2, channels))
    one[:, -1] = tone(RATE)
    sound = read_audio(write(tmp_path / "a.wav", one, subtype="FLOAT"))
    np.testing.assert_allclose(sound.wave_n, tone(RATE) / channels, atol=1e-6)
    assert sound.warnings == ()


@pytest.mark.parametrize("rate", RATES)
def test_another_rate_is_resampled_and_keeps_pitch_level_and_time(tmp_path, rate):
    wave = load_audio(write(tmp_path / "a.wav", tone(rate, pitch=1000), rate, subtype="FLOAT"))
    assert len(wave) == pytest.approx(RATE / 2, abs=1)
    middle = slice(RATE // 8, 3 * RATE // 8)
    np.testing.assert_allclose(wave[middle], tone(RATE, pitch=1000)[: len(wave)][middle], atol=1e-3)


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
def test_frequencies_above_the_new_rate_do_not_fold_back(tmp_path, rate):
    """A tone of 10 kHz must not fold to 6 kHz; at most −80 dB of it may remain."""
    wave = load_audio(write(tmp_path / "a.wav", tone(rate, pitch=10_000), rate, subtype="FLOAT"))
    middle = slice(RATE // 8, 3 * RATE // 8)
    assert np.abs(wave[middle]).max() < 0.5e-4
    folded = tone(rate, pitch=10_000)[:: rate // RATE] if rate % RATE == 0 else np.ones(1)
    assert np.abs(folded).max() > 0.4, "without a filter the tone would remain"


@pytest.mark.parametrize("rate", [RATE, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_leave_no_seam(tmp_path, monkeypatch, rate, channels):
    noise = np.random.default_rng(0).normal(0, 0.1, (rate, channels))
    path = write(tmp_path / "a.flac", noise, rate)
    whole = load_audio(path)
    monkeypatch.setattr(audio, "_BLOCK", 1000)
    np.testing.assert_array_equal(load_audio(path), whole)


def test_long_stereo_is_decoded_in_the_memory_of_its_result(tmp_path):
    path = tmp_path / "minute.flac"
    with soundfile.SoundFile(path, "w", 48000, 2) as file:
        for _ in range(10):
            file.write(np.full((6 * 48000, 2), 0.1))
    load_audio(path)
    tracemalloc.start()
    wave = load_audio(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    decoded = 60 * 48000 * 2 * 4
    assert peak < 2 * wave.nbytes + 12e6 < decoded


def test_seconds_come_from_the_header(tmp_path):
    assert seconds_of(write(tmp_path / "a.flac", tone(8000, 1.25), 8000)) == pytest.approx(1.25)
    (tmp_path / "b.wav").write_bytes(b"not audio")
    for name, message in (("b.wav", "not readable"), ("missing.wav", "not found")):
        with pytest.raises(AudioError, match=message):
            seconds_of(tmp_path / name)
