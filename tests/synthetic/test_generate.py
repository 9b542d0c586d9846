"""The generated corpus: equal seeds, equal bytes; MSP-Podcast's layout; plausible speech."""

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
from speech_statistics import pitch_of, rhythm_of, statistics_of

from medusa_jax.audio.decode import load_audio
from medusa_jax.corpus.labels import CLASSES, LETTER_OF, LETTERS
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.ratings import read_ratings
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.synthetic.cast import OUTCOMES, cast, quota
from medusa_jax.synthetic.folder import ASR
from medusa_jax.synthetic.generate import ANSWERS, generate

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
    sizes = f"size={SIZE}, test_per_class={PER_CLASS}, seed=3"
    code = f"{head}{before}\ngenerate(Path(sys.argv[1]), {sizes})"
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


def test_reads_back_as_msp_podcast_with_the_planned_classes(root: Path, corpus: Corpus) -> None:
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


def test_test3_is_balanced_and_labelled_in_the_answers_alone(root: Path, corpus: Corpus) -> None:
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


def test_answers_are_the_votes_of_the_hidden_raters(root: Path) -> None:
    plan = cast(SIZE, PER_CLASS, 3)
    answers = pd.read_csv(root / ANSWERS).set_index("FileName")
    votes = plan.ratings[plan.ratings["FileName"].isin(answers.index)].groupby("FileName")
    for name, rows in votes:
        named = rows["Primary"].str.split("-").str[0].value_counts()
        assert named.iloc[0] > named.iloc[1:].max() if len(named) > 1 else True
        assert LETTER_OF[named.index[0].lower()] == answers.loc[name, "EmoClass"]
        assert rows["EmoVal"].mean() == pytest.approx(answers.loc[name, "EmoVal"])


def test_ratings_look_like_crowd_ratings(root: Path) -> None:
    ratings = read_ratings(root / "Labels" / "labels_detailed.csv")
    each = ratings.groupby("FileName").size()
    assert each.between(5, 9).all()
    assert each.mean() == pytest.approx(5.57, abs=0.3)
    values = ratings[["EmoAct", "EmoVal", "EmoDom"]].to_numpy()
    assert np.isin(values, np.arange(1, 8)).all()
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
    limits = "(30_000, resource.RLIM_INFINITY)"
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, {limits})"
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
        ({"size": 10}, "too few for every class"),
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


def test_the_marker_names_the_arguments(root: Path, tmp_path: Path) -> None:
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
