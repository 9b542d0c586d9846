"""Audio files → 16 kHz mono float32, and a typed error for every file that is not good speech."""

import numpy as np
import pytest
import soundfile

from medusa_jax.corpus.audio import RATE, load_audio, seconds_of
from medusa_jax.errors import AudioError


def tone(rate, seconds=0.5, pitch=440.0):
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)


def write(path, wave, rate=RATE, **options):
    soundfile.write(path, wave, rate, **options)
    return path


def test_full_scale_is_one_and_samples_are_kept(tmp_path):
    wave = load_audio(write(tmp_path / "a.wav", tone(RATE), subtype="FLOAT"))
    assert wave.dtype == np.float32
    assert wave.flags.c_contiguous
    np.testing.assert_allclose(wave, tone(RATE), atol=1e-6)
    assert load_audio(write(tmp_path / "b.wav", np.full(100, -1.0), subtype="PCM_16")).min() == -1


def test_stereo_is_averaged(tmp_path):
    both = np.stack([tone(RATE), np.zeros(RATE // 2)], axis=1)
    np.testing.assert_allclose(load_audio(write(tmp_path / "a.wav", both, subtype="FLOAT")), tone(RATE) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_another_rate_is_resampled_without_moving_the_pitch(tmp_path, rate):
    wave = load_audio(write(tmp_path / "a.wav", tone(rate), rate, subtype="FLOAT"))
    assert len(wave) == pytest.approx(RATE / 2, abs=1)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert np.argmax(spectrum) * RATE / len(wave) == pytest.approx(440, abs=2)
    middle = slice(RATE // 8, 3 * RATE // 8)
    np.testing.assert_allclose(wave[middle], tone(RATE)[: len(wave)][middle], atol=1e-3)


def test_seconds_come_from_the_header(tmp_path):
    assert seconds_of(write(tmp_path / "a.flac", tone(8000, 1.25), 8000)) == pytest.approx(1.25)
    (tmp_path / "b.wav").write_bytes(b"not audio")
    for name in ("b.wav", "missing.wav"):
        with pytest.raises(AudioError, match="not readable"):
            seconds_of(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "not found"),
        (lambda path: path.mkdir(), "not found"),
        (lambda path: path.write_bytes(b""), "not readable"),
        (lambda path: path.write_bytes(b"RIFF" + bytes(60)), "not readable"),
        (lambda path: path.write_text("#!/bin/sh\n"), "not readable"),
        (lambda path: write(path, np.zeros(0)), "holds no samples"),
        (lambda path: write(path, np.array([0, np.nan, 0]), subtype="FLOAT"), "NaN"),
        (lambda path: write(path, np.array([0, np.inf, 0]), subtype="FLOAT"), "NaN"),
        (lambda path: write(path, np.zeros(1), 192000), "too short to resample"),
    ],
)
def test_a_bad_file_is_a_typed_error_that_names_it(tmp_path, make, message):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    assert caught.value.where == path


@pytest.mark.parametrize(("name", "message"), [("a.flac", "not readable"), ("a.wav", "truncated: 4802. bytes of 96044")])
def test_a_truncated_file_is_refused(tmp_path, name, message):
    path = write(tmp_path / name, tone(RATE, 3.0), subtype="PCM_16")
    load_audio(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=message):
        load_audio(path)


@pytest.mark.parametrize("promise", [0, 0x7FFFF024, 0xFFFFFFFF])
def test_a_wav_written_into_a_pipe_promises_any_size(tmp_path, promise):
    path = write(tmp_path / "a.wav", tone(RATE), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = promise.to_bytes(4, "little")
    path.write_bytes(data)
    assert len(load_audio(path)) == RATE // 2
