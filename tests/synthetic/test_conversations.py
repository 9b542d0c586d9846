"""Generated conversations: equal seeds, equal bytes; whole or not there; each stream a part."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conversation_scores import context_of, posteriors, weighted_f1

from medusa_jax.audio.decode import load_audio
from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.corpus.check import check
from medusa_jax.corpus.msp_podcast import read_msp_podcast
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.runs.inputs import read_corpus
from medusa_jax.synthetic.conversations import VISUAL, generate_conversations
from medusa_jax.synthetic.folder import ASR
from medusa_jax.synthetic.moods import EMOTIONS, STREAMS, draw_dialogues

SIZE = 110


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_conversations(tmp_path_factory.mktemp("generated") / "c", size=SIZE, seed=3)


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return read_msp_podcast(root, transcripts=root / ASR)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_a_killed_process_leaves_nothing_and_the_next_makes_equal_bytes(
    root: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from medusa_jax.synthetic.conversations import generate_conversations as generate\n"
        f"generate(Path(sys.argv[1]), size={SIZE}, seed=3)"
    )
    place = {
        "PATH": "/usr/bin",
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    target = tmp_path / "c"
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], env=place)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.npy")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    subprocess.run([sys.executable, "-c", code, str(target)], env=place, check=True)
    assert digests(target) == digests(root)


def test_an_existing_corpus_is_kept_and_another_refused(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert generate_conversations(root, size=SIZE, seed=3) == root
    with pytest.raises(CorpusError, match="another generated corpus"):
        generate_conversations(root, size=SIZE, seed=4)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize(("size", "seed", "words"), [(99, 0, "too few"), (200, -1, "negative")])
def test_impossible_arguments_are_refused(tmp_path: Path, size: int, seed: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        generate_conversations(tmp_path / "c", size=size, seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_each_turn_in_order_with_its_labels(corpus: Corpus) -> None:
    frame, drawn = corpus.frame, draw_dialogues(SIZE, 3)
    assert corpus.classes == EMOTIONS
    assert corpus.synthetic
    assert corpus.name == "generated"
    assert frame["turn"].tolist() == drawn["turn"].tolist()
    assert frame["dialogue"].ne(frame["dialogue"].shift()).tolist() == (drawn["turn"] == 0).tolist()
    assert frame["speaker"].tolist() == [str(1000 + number) for number in drawn["speaker"]]
    assert frame["split"].tolist() == drawn["split"].str.lower().tolist()
    assert frame[["speaker", "gender", "transcript", "consensus"]].notna().all(axis=None)
    assert (corpus.votes.sum(axis=1) + frame["votes_other"]).between(5, 9).all()
    assert np.isfinite(corpus.attributes).all()
    agreed = corpus.labels >= 0
    assert agreed.mean() > 0.85
    truth = drawn["emotion"].map(EMOTIONS.index).to_numpy()
    assert (corpus.labels == truth)[agreed].mean() > 0.9
    assert (corpus.soft > 0).sum(axis=1).mean() > 1.3, "raters disagree"
    assert check(corpus).ok


def test_audio_and_faces_are_of_one_length(corpus: Corpus) -> None:
    for row in range(0, len(corpus), 3):
        wave_n = load_audio(corpus.audio_path(row))
        assert 0.01 < np.abs(wave_n).max() < 1
        stem = Path(corpus.frame["id"].iat[row]).stem
        frames_tu = np.load(corpus.root / VISUAL / f"{stem}.npy")
        assert frames_tu.shape == (len(wave_n) // 1600, 17)
        assert 0 <= frames_tu.min() <= frames_tu.max() <= 5


def test_a_run_makes_its_own_and_reads_the_recognised_words(root: Path, tmp_path: Path) -> None:
    config = CorpusConfig(source="generated", conversations=True, size=SIZE, seed=3)
    corpus = read_corpus(config, tmp_path)
    assert corpus.root == tmp_path / "corpora" / f"conversations-{SIZE}-3"
    assert digests(corpus.root) == digests(root)
    words = (root / ASR / f"{Path(corpus.frame['id'].iat[5]).stem}.txt").read_text().strip()
    assert corpus.frame["transcript"].iat[5] == words


def test_each_stream_and_context_carry_a_part() -> None:
    """On the latent model: one-hot of what streams show, logistic regression, with and without the
    posteriors of earlier turns.
    """
    table = draw_dialogues(4000, 1)
    shown = {name: np.eye(6)[table[name].map(EMOTIONS.index)] for name in STREAMS}
    shown["all"] = np.concatenate([shown[name] for name in STREAMS], axis=1)
    alone, with_context = {}, {}
    for name, inputs in shown.items():
        posterior = posteriors(table, inputs)
        alone[name] = weighted_f1(table, posterior)
        with_context[name] = weighted_f1(table, context_of(table, posterior))
    best = max(alone[name] for name in STREAMS)
    print({name: (round(alone[name], 3), round(with_context[name], 3)) for name in shown})
    assert alone["all"] > best + 0.05
    for name in shown:
        assert with_context[name] > alone[name] + (0.02 if name == "all" else 0.03)


@pytest.mark.slow
def test_sound_words_and_face_each_carry_a_part(tmp_path: Path) -> None:
    """On what is on disk: means of log-mel frames, hashed words and action units."""
    from medusa_jax.config.features import HashedTextConfig, LogMelConfig
    from medusa_jax.features.registry import build_extractor

    root = generate_conversations(tmp_path / "c", size=1500, seed=0)
    corpus = read_msp_podcast(root, transcripts=root / ASR)
    mel, text = build_extractor(LogMelConfig(bands=40)), build_extractor(HashedTextConfig())
    sounds = (load_audio(corpus.audio_path(row)) for row in range(len(corpus)))
    files = (root / VISUAL / f"{Path(name).stem}.npy" for name in corpus.frame["id"])
    inputs = {
        "words": np.array([text([words])[0].mean(0) for words in corpus.frame["transcript"]]),
        "voice": np.array([mel([wave_n])[0].mean(0) for wave_n in sounds]),
        "face": np.array([np.load(path).mean(0) for path in files]),
    }
    table = draw_dialogues(1500, 0)
    alone = {name: posteriors(table, values, strength=0.1) for name, values in inputs.items()}
    scores = {name: weighted_f1(table, posterior) for name, posterior in alone.items()}
    together = posteriors(table, np.concatenate([*alone.values()], axis=1))
    score, in_context = (
        weighted_f1(table, together),
        weighted_f1(table, context_of(table, together)),
    )
    print(scores, score, in_context)
    assert all(0.35 < value < 0.62 for value in scores.values())
    assert score > max(scores.values()) + 0.08
    assert in_context > score + 0.02
