"""Damaged audio is an `AudioError` that names the file; audio of doubtful quality has warnings."""

import numpy as np
import pytest
from audio_files import tone, write

from medusa_jax.audio import decode as audio
from medusa_jax.audio.decode import RATE, load_audio, read_audio, seconds_of
from medusa_jax.errors import AudioError

SPEECH = 0.3 * tone(RATE, 3.0) * (1 + np.sin(np.arange(3 * RATE) / 2000))


def patched(path, place, value):
    """Write `value` over the bytes at `place`."""
    data = bytearray(path.read_bytes())
    data[place : place + len(value)] = value
    path.write_bytes(data)


def flac_of(path, frames):
    """A FLAC file of 3 s whose header promises `frames`.

    0 stands for an unknown length, as written by an encoder into a pipe.
    """
    write(path, SPEECH, format="FLAC", subtype="PCM_16")
    high = path.read_bytes()[21] & 0xF0 | frames >> 32
    patched(path, 21, bytes([high]) + (frames & 0xFFFFFFFF).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "not found"),
        (lambda path: path.mkdir(), "a folder, not an audio file"),
        (lambda path: path.symlink_to("nowhere"), "not found"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"RIFF"), "not readable"),
        (lambda path: path.write_bytes(b"RIFF" + bytes(60)), "not readable"),
        (lambda path: path.write_bytes(b"OggS"), "truncated"),
        (lambda path: path.write_text("#!/bin/sh\n"), "not readable"),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(4000)), "not readable"),
        (lambda path: write(path, np.zeros(0)), "contains no samples"),
        (lambda path: write(path, np.array([0, np.nan, 0]), subtype="FLOAT"), "NaN"),
        (lambda path: write(path, np.array([0, np.inf, 0]), subtype="FLOAT"), "NaN"),
        (lambda path: write(path, np.array([0, 1e300, 0]), subtype="DOUBLE"), "NaN or infinite"),
        (lambda path: write(path, np.zeros(1), 192000), "too short to resample"),
        (lambda path: write(path, SPEECH, 1), "implausible sampling rate.*: 1 Hz"),
        (lambda path: write(path, SPEECH, 2**31 - 1), "2147483647 Hz"),
        (lambda path: flac_of(path, 0), "does not give the length"),
        (lambda path: flac_of(path, 2**36 - 1), "1193.0 hours"),
        (lambda path: flac_of(path, 2 * len(SPEECH)), "not readable|truncated"),
    ],
)
def test_a_bad_file_is_a_typed_error_that_names_it(tmp_path, make, message):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    assert caught.value.where == path


def test_a_suffix_that_means_no_header_is_an_error_too(tmp_path):
    path = write(tmp_path / "a.wav", SPEECH).rename(tmp_path / "a.raw")
    with pytest.raises(AudioError, match="not readable"):
        load_audio(path)


KINDS = [
    "a.wav PCM_16",
    "a.wav PCM_24",
    "a.wav FLOAT",
    "a.aiff PCM_16",
    "a.au PCM_16",
    "a.rf64 PCM_16",
    "a.w64 PCM_16",
]
PACKED = ["a.flac PCM_16", "a.ogg VORBIS", "a.ogg OPUS"]


@pytest.mark.parametrize("kind", KINDS + PACKED)
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, kind, share):
    name, subtype = kind.split()
    path = write(tmp_path / name, SPEECH, subtype=subtype)
    assert len(load_audio(path)) == len(SPEECH)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(AudioError):
        load_audio(path)


def test_a_truncated_mp3_is_refused_and_one_that_lacks_a_frame_has_a_warning(tmp_path):
    whole = write(tmp_path / "a.mp3", SPEECH).read_bytes()
    for share, outcome in ((0.5, None), (0.94, ("incomplete",)), (0.999, ())):
        (tmp_path / "a.mp3").write_bytes(whole[: int(len(whole) * share)])
        if outcome is None:
            with pytest.raises(AudioError, match="truncated"):
                load_audio(tmp_path / "a.mp3")
        else:
            assert read_audio(tmp_path / "a.mp3").warnings == outcome


def test_a_flipped_byte_in_a_flac_file_is_found(tmp_path):
    path = write(tmp_path / "a.flac", SPEECH)
    middle = path.stat().st_size // 2
    patched(path, middle, bytes([path.read_bytes()[middle] ^ 0x10]))
    with pytest.raises(AudioError):
        load_audio(path)


@pytest.mark.parametrize("promise", [0, 0x7FFFF024, 0xFFFFFFFF])
@pytest.mark.parametrize("places", [[4], [4, 40]], ids=["file", "file and data"])
def test_a_wav_written_into_a_pipe_promises_any_size(tmp_path, promise, places):
    path = write(tmp_path / "a.wav", SPEECH, subtype="PCM_16")
    for place in places:
        patched(path, place, promise.to_bytes(4, "little"))
    if promise == 0 and len(places) == 2:
        with pytest.raises(AudioError, match="no samples"):
            load_audio(path)
    else:
        assert len(load_audio(path)) == len(SPEECH)
        assert seconds_of(path) == pytest.approx(3)


def test_more_hours_than_fit_into_memory_are_refused_unread(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", SPEECH)
    monkeypatch.setattr(audio, "LONGEST", 2.9)
    for read in (load_audio, seconds_of):
        with pytest.raises(AudioError, match="hours of audio in one file"):
            read(path)


HALF = RATE // 2


@pytest.mark.parametrize(
    ("wave", "options", "expected"),
    [
        (SPEECH, {}, ()),
        (np.zeros(HALF), {}, ("silent",)),
        (0.0004 * tone(RATE) / 0.5, {"subtype": "FLOAT"}, ("silent",)),
        (0.0005 * tone(RATE) / 0.5, {"subtype": "FLOAT"}, ()),
        (np.clip(4 * SPEECH, -1, 1), {}, ("clipped",)),
        (np.clip(4 * SPEECH, -1, 1), {"subtype": "PCM_U8"}, ("clipped",)),
        (np.clip(4 * SPEECH, -1, 1), {"rate": 44100}, ("clipped",)),
        (np.stack([np.clip(4 * SPEECH, -1, 1), np.zeros(3 * RATE)], axis=1), {}, ("clipped",)),
        (np.where(np.arange(RATE) % 2000 == 0, 1.0, 0.1 * tone(RATE, 1.0)), {}, ()),
        (np.where(np.arange(RATE) % 500 == 0, 1.0, 0.1 * tone(RATE, 1.0)), {}, ("clipped",)),
        (32768 * SPEECH, {"subtype": "FLOAT"}, ("out_of_range",)),
        (SPEECH + 0.019, {}, ()),
        (SPEECH + 0.021, {}, ("dc_offset",)),
        (tone(RATE, 0.03), {}, ("very_short",)),
        (tone(RATE, 0.1), {}, ()),
        (tone(8000), {"rate": 8000}, ("narrow_band",)),
        (tone(11025), {"rate": 11025}, ("narrow_band",)),
        (tone(22050), {"rate": 22050}, ()),
        (np.zeros(100), {"rate": 8000}, ("silent", "narrow_band", "very_short")),
    ],
)
def test_doubtful_quality_is_a_warning(tmp_path, wave, options, expected):
    assert read_audio(write(tmp_path / "a.wav", wave, **options)).warnings == expected


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_channels_that_cancel_are_not_averaged(tmp_path, rate):
    wave = tone(rate)
    sound = read_audio(
        write(tmp_path / "a.wav", np.stack([0.9 * wave, -wave], axis=1), rate, subtype="FLOAT")
    )
    assert sound.warnings == ("opposite_phase",)
    right = load_audio(write(tmp_path / "b.wav", -wave, rate, subtype="FLOAT"))
    np.testing.assert_array_equal(sound.wave_n, right)


def test_channels_that_are_unrelated_or_partly_opposed_are_averaged(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((RATE, 8))
    assert read_audio(write(tmp_path / "a.wav", noise)).warnings == ()
    half = np.stack([noise[:, 0], -0.5 * noise[:, 0]], axis=1)
    assert read_audio(write(tmp_path / "b.wav", half)).warnings == ()
