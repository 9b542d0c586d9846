"""The generated corpus: same seed same bytes, MSP-Podcast's layout, honest votes, voices that a microphone could have heard."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medusa_jax.audio.decode import load_audio
from medusa_jax.corpus.labels import CLASSES, LETTER_OF, LETTERS
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.ratings import read_ratings
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.synthetic import phrases
from medusa_jax.synthetic.cast import OUTCOMES, cast, quota
from medusa_jax.synthetic.generate import ANSWERS, ASR, SMALLEST, generate, is_synthetic
from medusa_jax.synthetic.prosody import FIELDS, Voice, affect_of, prosody
from medusa_jax.synthetic.voice import speak

SIZE, PER_CLASS = 64, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(
        tmp_path_factory.mktemp("generated") / "corpus", size=SIZE, test_per_class=PER_CLASS, seed=3
    )


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return read_msp_podcast(root, transcripts=root / ASR)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def start(target: Path, before: str = "") -> subprocess.Popen[str]:
    head = (
        "import sys\nfrom pathlib import Path\nfrom medusa_jax.synthetic.generate import generate\n"
    )
    code = f"{head}{before}\ngenerate(Path(sys.argv[1]), size={SIZE}, test_per_class={PER_CLASS}, seed=3)"
    environment = {
        "PYTHONHASHSEED": "77",
        "PATH": "/usr/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, str(target)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_equal_seeds_give_equal_bytes_in_another_process(root: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "again")
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert digests(tmp_path / "again") == digests(root)


def test_another_seed_gives_other_voices_words_and_votes(root: Path) -> None:
    here, there = cast(SIZE, PER_CLASS, 3), cast(SIZE, PER_CLASS, 4)
    assert (here.utterances["transcript"] != there.utterances["transcript"]).mean() > 0.9
    assert not np.allclose(here.heard_bc, there.heard_bc)


def test_reads_back_as_msp_podcast_with_the_planned_classes(root: Path, corpus: Corpus) -> None:
    assert is_synthetic(root)
    assert corpus.synthetic
    assert len(corpus) == SIZE + 8 * PER_CLASS
    labelled = corpus.of_split("train", "development")
    counts = labelled.frame["consensus"].value_counts()
    assert {name: counts.get(name, 0) for name in OUTCOMES} == dict(
        zip(OUTCOMES, quota(SIZE).tolist(), strict=True)
    )
    assert set(corpus.of_split("train").frame["consensus"]) >= set(CLASSES)
    assert set(corpus.of_split("development").frame["consensus"]) >= set(CLASSES)
    assert set(labelled.frame["gender"].dropna()) == {"female", "male"}
    assert labelled.frame["speaker"].isna().any()
    assert corpus.frame["transcript"].notna().all()


def test_test3_is_balanced_and_says_nothing_outside_the_answers(root: Path, corpus: Corpus) -> None:
    tested = corpus.of_split("test3").frame
    assert tested["consensus"].isna().all()
    assert tested["speaker"].isna().all()
    answers = pd.read_csv(root / ANSWERS)
    assert list(answers.columns) == ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom"]
    assert (
        answers["FileName"].tolist()
        == [f"MSP-PODCAST_test3_{i + 1:04d}.wav" for i in range(8 * PER_CLASS)]
        == tested["id"].tolist()
    )
    assert answers["EmoClass"].value_counts().to_dict() == dict.fromkeys(LETTERS, PER_CLASS)
    for path in [*(root / "Labels").iterdir(), *(root / "Transcripts").iterdir()]:
        assert "test3" not in path.name + path.read_text(encoding="utf-8")


def test_answers_are_what_the_hidden_raters_said(root: Path) -> None:
    plan = cast(SIZE, PER_CLASS, 3)
    answers = pd.read_csv(root / ANSWERS).set_index("FileName")
    votes = plan.ratings[plan.ratings["FileName"].isin(answers.index)].groupby("FileName")
    for name, rows in votes:
        named = rows["Primary"].str.split("-").str[0].value_counts()
        assert named.iloc[0] > named.iloc[1:].max() if len(named) > 1 else True
        assert LETTER_OF[named.index[0].lower()] == answers.loc[name, "EmoClass"]
        assert rows["EmoVal"].mean() == pytest.approx(answers.loc[name, "EmoVal"])


def test_no_speaker_is_on_two_sides_and_names_have_both_forms() -> None:
    utterances = cast(800, 20, 0).utterances
    assert (utterances.groupby("voice")["Split_Set"].nunique() == 1).all()
    assert 60 <= utterances["voice"].nunique() <= 80
    assert utterances["FileName"].is_unique
    numbers = utterances["FileName"].str.count("_")
    development = utterances["Split_Set"] == "Development"
    assert (numbers[~development] == 2).all()
    assert (numbers[development] == 3).mean() == pytest.approx(0.25, abs=0.08)


def test_the_default_size_has_enough_of_every_class_and_the_real_share_of_disagreement() -> None:
    utterances = cast(800, 20, 0).utterances
    labelled = utterances[utterances["Split_Set"] != "Test3"]
    train = labelled[labelled["Split_Set"] == "Train"]["consensus"].value_counts()
    assert train[list(CLASSES)].min() >= 20
    assert train.idxmax() == "neutral"
    assert (labelled["consensus"] == "no_agreement").mean() == pytest.approx(0.189, abs=0.005)
    assert (labelled["consensus"] == "other").mean() == pytest.approx(0.016, abs=0.003)


@pytest.mark.parametrize("size", [SMALLEST, 61, 150, 800, 2000])
def test_quotas_add_up_and_leave_no_class_out(size: int) -> None:
    assert quota(size).sum() == size
    assert quota(size)[: len(CLASSES)].min() >= 4


def test_ratings_look_like_crowd_ratings(root: Path) -> None:
    ratings = read_ratings(root / "Labels" / "labels_detailed.csv")
    each = ratings.groupby("FileName").size()
    assert each.between(5, 9).all()
    assert each.mean() == pytest.approx(5.57, abs=0.3)
    assert set(ratings["EmoAct"]) | set(ratings["EmoVal"]) | set(ratings["EmoDom"]) <= {
        1,
        2,
        3,
        4,
        5,
        6,
        7,
    }
    assert ratings["Primary"].str.startswith("Other-").any()
    assert (ratings["Secondary"].map(len) == 0).any()


def test_an_existing_corpus_is_kept_and_nothing_else_is_touched(root: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert generate(root, size=SIZE, test_per_class=PER_CLASS, seed=3) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    with pytest.raises(CorpusError, match="another generated corpus"):
        generate(root, size=SIZE, test_per_class=PER_CLASS, seed=4)
    (tmp_path / "mine.txt").write_text("thesis")
    with pytest.raises(CorpusError, match="something else"):
        generate(tmp_path, size=SIZE)
    with pytest.raises(CorpusError, match="something else"):
        generate(tmp_path / "mine.txt", size=SIZE)
    with pytest.raises(CorpusError, match="cannot write"):
        generate(tmp_path / "mine.txt" / "corpus", size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_a_full_disk_leaves_nothing_and_names_the_folder(tmp_path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))"
    process = start(tmp_path / "corpus", limit)
    _, error = process.communicate()
    assert "CorpusError: cannot write the generated corpus" in error
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_corpus_behind(root: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "corpus")
    deadline = time.monotonic() + 60
    while (
        not list(tmp_path.rglob("*.wav")) and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "corpus").exists()
    assert digests(
        generate(tmp_path / "corpus", size=SIZE, test_per_class=PER_CLASS, seed=3)
    ) == digests(root)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 10}, "cannot hold every class"),
        ({"test_per_class": 0}, "test3"),
        ({"seed": -1}, "negative"),
    ],
)
def test_impossible_sizes_are_refused_before_anything_is_written(
    tmp_path: Path, wrong: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(tmp_path / "corpus", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_the_marker_is_what_makes_it_synthetic(root: Path, tmp_path: Path) -> None:
    assert not is_synthetic(tmp_path)
    assert json.loads((root / "synthetic.json").read_text()) == {
        "generator_version": 1,
        "seed": 3,
        "size": SIZE,
        "test_per_class": PER_CLASS,
    }
    assert "synthetic" in (root / "README.txt").read_text()


def test_audio_is_neither_clipped_nor_silent_and_of_the_promised_length(corpus: Corpus) -> None:
    seconds = corpus.frame["seconds"]
    assert seconds.between(1.5, 6.0).all()
    assert seconds.mean() == pytest.approx(3.0, abs=0.4)
    for row in range(len(corpus)):
        wave_n = load_audio(corpus.audio_path(row))
        assert 0.01 < np.abs(wave_n).max() < 1


def test_voices_have_a_human_pitch_and_a_syllabic_rhythm(corpus: Corpus) -> None:
    pitches, rhythms = [], []
    for row in range(0, len(corpus), 4):
        wave_n = load_audio(corpus.audio_path(row))
        pitches.append(np.median(pitch_of(wave_n)))
        rhythms.append(rhythm_of(wave_n))
    assert 80 < min(pitches) < max(pitches) < 350
    assert 3 <= np.median(rhythms) <= 7


def test_emotions_move_pitch_loudness_and_tempo_as_the_literature_says() -> None:
    measured = {
        name: np.mean([described(name, seed) for seed in range(12)], axis=0)
        for name in ("angry", "sad", "neutral")
    }
    angry, sad, neutral = measured["angry"], measured["sad"], measured["neutral"]
    assert angry[0] > 1.15 * sad[0], "pitch"
    assert angry[1] > sad[1] + 3, "decibels"
    assert angry[2] < 0.9 * sad[2], "seconds"
    assert sad[1] < neutral[1] < angry[1]


def described(emotion: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    voice = Voice.draw("Female" if seed % 2 else "Male", rng)
    wave_n = speak(
        "We went to the station, and that is how it works.",
        voice,
        prosody(np.eye(8)[CLASSES.index(emotion)], voice, rng),
        rng,
    )
    return np.array(
        [np.median(pitch_of(wave_n)), 10 * np.log10(np.mean(wave_n**2)), len(wave_n) / 16_000]
    )


def pitch_of(wave_n: np.ndarray) -> np.ndarray:
    """F0 in Hz of the clearly voiced frames, by autocorrelation."""
    frames_tn = np.lib.stride_tricks.sliding_window_view(wave_n, 640)[::160] * np.hanning(640)
    auto_tl = np.fft.irfft(np.abs(np.fft.rfft(frames_tn, 2048)) ** 2)[:, :320]
    lag_t = auto_tl[:, 40:].argmax(axis=1) + 40
    energy_t = auto_tl[:, 0]
    clear_t = (auto_tl[np.arange(len(lag_t)), lag_t] > 0.45 * energy_t) & (
        energy_t > np.quantile(energy_t, 0.5)
    )
    return 16_000 / lag_t[clear_t]


def rhythm_of(wave_n: np.ndarray) -> float:
    """Centre of the energy envelope's modulation spectrum between 1.5 and 12 Hz."""
    envelope_t = np.log(
        np.lib.stride_tricks.sliding_window_view(wave_n**2, 400)[::160].mean(axis=1) + 1e-6
    )
    power_f = (
        np.abs(np.fft.rfft((envelope_t - envelope_t.mean()) * np.hanning(len(envelope_t)), 1024))
        ** 2
    )
    hz_f = np.fft.rfftfreq(1024, 0.01)
    band = (hz_f > 1.5) & (hz_f < 12)
    return float(np.average(hz_f[band], weights=power_f[band]))


def test_prosody_names_every_field_and_stays_in_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = prosody(rng.dirichlet(np.full(8, 0.2)), Voice.draw("Male", rng), rng)
        assert tuple(values) == FIELDS
        assert min(values["jitter"], values["shimmer"], values["breath"]) > 0
    attributes_ba = affect_of(np.eye(8))
    assert attributes_ba.min() >= 1
    assert attributes_ba.max() <= 7


def test_words_carry_part_of_the_emotion_and_recognition_makes_some_errors() -> None:
    rng = np.random.default_rng(1)
    texts = {name: [phrases.utterance_text(name, 0.0, rng) for _ in range(400)] for name in CLASSES}
    shown = {
        name: np.mean(
            [
                any(remark.lower() in text.lower() for remark in phrases._REMARKS[name])
                for text in texts[name]
            ]
        )
        for name in CLASSES
    }
    assert all(0.6 < shown[name] < 0.9 for name in CLASSES if name != "neutral"), shown
    everything = [text for group in texts.values() for text in group]
    words = {
        word for text in everything for word in text.lower().strip(".").replace(",", "").split()
    }
    assert 300 < len(words) < 700
    changed = np.mean([phrases.recognised(text, rng) != text for text in everything])
    lengths = np.mean(
        [abs(len(phrases.recognised(text, rng).split()) - len(text.split())) for text in everything]
    )
    assert 0.2 < changed < 0.7
    assert lengths < 1


@pytest.mark.slow
def test_audio_and_words_together_beat_either_alone(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    root = generate(tmp_path / "corpus", test_per_class=50)
    corpus = read_msp_podcast(root, transcripts=root / ASR)
    split = corpus.frame["split"].to_numpy()
    train, test = (split == "train") & (corpus.labels >= 0), split == "test3"
    truth = (
        pd.read_csv(root / ANSWERS)["EmoClass"]
        .map({letter: i for i, letter in enumerate(LETTERS)})
        .to_numpy()
    )
    sounds = np.array(
        [statistics_of(load_audio(corpus.audio_path(row))) for row in range(len(corpus))]
    )
    words = corpus.frame["transcript"].to_numpy(dtype=object)

    def posterior(inputs: np.ndarray, *steps: object, strength: float) -> np.ndarray:
        model = make_pipeline(
            *steps, LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
        )
        return model.fit(inputs[train], corpus.labels[train]).predict_proba(inputs[test])

    def score(posterior_bc: np.ndarray) -> float:
        return float(f1_score(truth, posterior_bc.argmax(axis=1), average="macro"))

    heard = posterior(sounds, StandardScaler(), strength=0.01)
    read = posterior(
        words, TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), strength=2.0
    )
    audio, text, both = score(heard), score(read), score(heard * read)
    print(f"Macro-F1 on synthetic speech: audio {audio:.3f}, text {text:.3f}, both {both:.3f}")
    assert 0.28 < audio < 0.46
    assert 0.25 < text < 0.43
    assert max(audio, text) + 0.03 < both < 0.62


def statistics_of(wave_n: np.ndarray) -> np.ndarray:
    """Mean, spread and movement of 24 log-mel bands over the louder frames; pitch's mean, spread, quantiles and end; length."""
    power_tf = (
        np.abs(
            np.fft.rfft(
                np.lib.stride_tricks.sliding_window_view(wave_n, 400)[::160] * np.hanning(400), 512
            )
        )
        ** 2
    )
    hz_f = np.fft.rfftfreq(512, 1 / 16_000)
    edges = 700 * (10 ** (np.linspace(90, 2800, 26) / 2595) - 1)
    bands_mf = np.array([np.interp(hz_f, edges[i : i + 3], [0, 1, 0]) for i in range(24)])
    logmel_tm = np.log(power_tf @ bands_mf.T + 1e-8)
    loud_t = logmel_tm.mean(axis=1) > np.quantile(logmel_tm.mean(axis=1), 0.4)
    pitch_t = 12 * np.log2(pitch_of(wave_n) / 100)
    pitch_t = pitch_t if len(pitch_t) > 5 else np.zeros(6)
    ending = pitch_t[-len(pitch_t) // 6 :].mean() - pitch_t.mean()
    pitch = [
        pitch_t.mean(),
        pitch_t.std(),
        *np.quantile(pitch_t, [0.1, 0.5, 0.9]),
        ending,
        np.abs(np.diff(pitch_t)).mean(),
    ]
    spectrum = [
        logmel_tm[loud_t].mean(axis=0),
        logmel_tm[loud_t].std(axis=0),
        np.abs(np.diff(logmel_tm, axis=0)).mean(axis=0),
    ]
    return np.concatenate([*spectrum, pitch, [len(wave_n) / 16_000]])
