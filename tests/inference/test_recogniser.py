"""A trained system on audio: the numbers of its run, from files, arrays, windows and streams."""

import json
import shutil
import threading

import jax
import numpy as np
import pytest
import soundfile
from small_system import small_system

from medusa_jax.audio.decode import load_audio
from medusa_jax.errors import AudioError, CheckpointError, ConfigError
from medusa_jax.inference.recogniser import load
from medusa_jax.runs.run import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run, from audio to its ensemble, and its system in a folder of its own."""
    yield small_system(tmp_path_factory.mktemp("runs"))
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module")
def prepared(made):
    return made[0]


@pytest.fixture(scope="module")
def system(made):
    return made[1]


@pytest.fixture(scope="module")
def recogniser(system):
    return load(system)


@pytest.fixture(scope="module")
def clips(prepared):
    """A few recordings of the development part, in the corpus's order."""
    frame = prepared.corpus.frame
    rows = np.flatnonzero(frame["split"] == "development")[:5]
    paths = [prepared.corpus.audio_path(int(row)) for row in rows]
    return rows, paths, frame["transcript"].iloc[rows].tolist()


def posteriors(results):
    return np.array([list(one.probabilities.values()) for one in results])


@pytest.mark.parametrize("use", ["soup", "majority_vote", "meta_classifier", "both", "words"])
def test_the_folder_alone_gives_the_runs_own_posteriors(prepared, system, clips, use):
    rows, paths, transcripts = clips
    run: Run = prepared.run
    if use in ("both", "words"):
        wanted = run.predictions(prepared.corpus, 0, use)
    else:
        wanted = run.ensemble_predictions(prepared.corpus, 0, use)
    results = load(system, use=use)(paths, transcript=transcripts)
    np.testing.assert_allclose(posteriors(results), wanted.where(rows).posteriors, atol=1e-5)
    attributes = np.array([list(one.attributes.values()) for one in results])
    np.testing.assert_allclose(attributes, wanted.where(rows).attributes, atol=1e-4)
    assert [one.file for one in results] == [str(path) for path in paths]
    assert results[0].label == wanted.classes[wanted.where(rows).logits[0].argmax()]


def test_one_by_one_is_as_all_together(recogniser, clips):
    _, paths, transcripts = clips
    together = recogniser(paths, transcript=transcripts)
    for path, words, wanted in zip(paths, transcripts, together, strict=True):
        one = recogniser(path, transcript=words)
        assert one.label == wanted.label
        assert one.probabilities == pytest.approx(wanted.probabilities, abs=1e-5)


def test_every_form_of_audio_is_the_same(recogniser, clips, tmp_path):
    path = clips[1][0]
    wanted = recogniser(path).probabilities
    samples, rate = soundfile.read(path, dtype="int16")
    with open(path, "rb") as file:
        forms = [(str(path), None), (path.read_bytes(), None), (file, None), (samples, rate)]
        for sound, own in [*forms, (np.stack([samples, samples], axis=1), rate)]:
            assert recogniser(sound, own).probabilities == pytest.approx(wanted, abs=1e-5)


def test_a_bad_recording_is_a_row_with_its_reason(recogniser, clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    with pytest.raises(AudioError, match="not readable as audio"):
        recogniser(broken)
    results = recogniser([clips[1][0], broken, tmp_path / "none.wav", clips[1][1]])
    assert [one.label is None for one in results] == [False, True, True, False]
    assert "not found" in results[2].error
    table = results.table()
    assert table.index.names == ["file", "start", "end"]
    assert table["error"].notna().tolist() == [False, True, True, False]
    assert json.loads(json.dumps([one.as_dict() for one in results]))[1]["label"] is None


def test_a_missing_transcript_is_said(recogniser, clips):
    """The words of this run came with its corpus: without them the other modality decides."""
    found = recogniser(clips[1][0])
    assert "no text: the recording has no transcript" in found.warnings
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.confidence == max(found.probabilities.values())


def test_windows_of_a_file_are_those_of_a_stream(recogniser, clips, tmp_path):
    waves = [load_audio(path) for path in clips[1]]
    whole = np.concatenate(waves)
    path = tmp_path / "long.wav"
    soundfile.write(path, whole, 16_000, subtype="FLOAT")
    batch = recogniser(path, windows=(2, 1))
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.integers(0, len(whole), 30))
    streamed = list(recogniser.stream(np.split(whole, cuts), 16_000, windows=(2, 1)))
    assert [(one.start, one.end) for one in batch] == [(one.start, one.end) for one in streamed]
    assert [one.start for one in batch] == list(range(len(batch)))
    assert batch[-1].end == pytest.approx(len(whole) / 16_000)
    np.testing.assert_allclose(posteriors(batch), posteriors(streamed), atol=1e-5)
    piece = recogniser(whole[16_000:48_000], 16_000)
    assert piece.probabilities == pytest.approx(batch[1].probabilities, abs=1e-5)


def test_a_stream_answers_as_soon_as_a_window_is_whole(recogniser):
    asked = []

    def chunks():
        for second in range(5):
            asked.append(second)
            yield np.zeros(16_000, np.float32)

    results = recogniser.stream(chunks(), 16_000, windows=(2, 1))
    next(results)
    assert asked == [0, 1]
    next(results)
    assert asked == [0, 1, 2]


def test_several_threads_get_their_own_answers(recogniser, clips):
    _, paths, _ = clips
    wanted, found = [recogniser(path).probabilities for path in paths], {}

    def ask(place):
        found[place] = recogniser(paths[place]).probabilities

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, one in enumerate(wanted):
        assert found[place] == pytest.approx(one, abs=1e-5)


def test_damage_is_named(system, tmp_path):
    for name in ("members/both/weights.safetensors", "ensemble/ensemble.json", "config.yaml"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(system, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            load(copy)
        (copy / name).unlink()
        with pytest.raises(CheckpointError, match=f"{name} is missing"):
            load(copy)


def test_another_extractor_is_refused(prepared, tmp_path):
    copy = tmp_path / prepared.run.folder.name
    shutil.copytree(prepared.run.folder, copy)
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("bands: 16", "bands: 24"))
    with pytest.raises(CheckpointError, match="from those of the training in bands"):
        load(copy)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"use": "nobody"}, ConfigError, "choose one of majority_vote"),
        ({"fold": 2}, ConfigError, "the run has 1 folds"),
    ],
)
def test_wrong_choices_are_refused(prepared, arguments, error, words):
    with pytest.raises(error) as caught:
        load(prepared.run.folder, **arguments)
    assert words in str(caught.value)


def test_no_system_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no trained system here"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("sound", "rate", "words"),
    [
        (np.zeros(100), None, "without its sampling rate"),
        (np.zeros((2, 1000, 3)), 16_000, "shape"),
        (np.zeros((2, 1000)), 16_000, "transpose"),
        (np.full(100, np.nan), 16_000, "NaN"),
        (np.zeros(0), 16_000, "no samples"),
        (np.zeros(100), 3, "implausible"),
        (b"text", None, "not readable"),
        (7, None, "no audio: int"),
    ],
)
def test_what_is_no_audio_is_refused(recogniser, sound, rate, words):
    with pytest.raises(AudioError) as caught:
        recogniser(sound, rate)
    assert words in str(caught.value)
