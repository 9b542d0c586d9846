"""Commands that fill a store, killed at random moments and given again, end with the bytes of one
that was left alone (house promise 2).
"""

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from killing import Commands, killed_until_done
from small_corpus import bytes_of, small_corpus
from small_run import small_yaml

from medusa_jax.config.features import LogMelConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import StoreError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import store_name
from medusa_jax.store.convert import convert
from medusa_jax.store.npy import export_folder, import_folder
from medusa_jax.store.reader import FeatureStore

pytestmark = pytest.mark.slow
COUNT, ROWS, TIMES = 20, 2, 5
FAILING = 0.2
LOGMEL = LogMelConfig(bands=16)


@dataclass(frozen=True)
class Work:
    """A store as it is when nothing interrupts; the commands that make it in a new folder, and
    where below that folder it then lies.
    """

    whole: FeatureStore
    commands: Callable[[Path], list[list[object]]]
    place: str = "store"

    def begin(self, folder: Path) -> Path:
        """A store of which only the plan is there: a begun one keeps the size of its shards, so
        that a small corpus has many.
        """
        store = folder / self.place
        store.mkdir(parents=True)
        (store / "store.json").write_bytes((self.whole.folder / "store.json").read_bytes())
        return store


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    pytest.importorskip("torch")
    whisper = [
        f"transformers.models.whisper.{name}_whisper" for name in ("modeling", "feature_extraction")
    ]
    with Commands(
        "torch",
        *whisper,
        "transformers.models.auto.modeling_auto",
        "medusa_jax.transcription.whisper",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    """Noises, one of which cannot be read."""
    made = small_corpus(root / "corpus", COUNT)
    made.audio_path(6).write_bytes(b"not audio")
    made.save(root / "corpus.parquet")
    return made


@pytest.fixture(scope="module")
def extracted(corpus: Corpus, root: Path) -> FeatureStore:
    return extract(corpus, LOGMEL, root / "extracted", shard_rows=ROWS, max_failures=FAILING)


def run_yaml(path: Path, table: Path, **changes: object) -> Path:
    """A run on a table of utterances, a fifth of which may fail."""
    speech = {
        "features": {"logmel": LOGMEL.model_dump()},
        "members": [{"id": "speech", "modalities": ["logmel"]}],
    }
    return small_yaml(
        path,
        corpus={"source": "table", "path": str(table), "max_failures": FAILING},
        **speech,
        **changes,
    )


@pytest.fixture(scope="module")
def extraction(corpus: Corpus, extracted: FeatureStore, root: Path) -> Work:
    """By two processes, one share each."""
    path = run_yaml(root / "extraction.yaml", root / "corpus.parquet")
    place = f"features/{store_name(corpus, build_extractor(LOGMEL))}"
    return Work(
        extracted,
        lambda folder: [["extract", path, "--out", folder, "--shard", f"{i}/2"] for i in (1, 2)],
        place,
    )


@pytest.fixture(scope="module")
def conversion(extracted: FeatureStore, root: Path) -> Work:
    whole = convert(extracted, "int8", root / "converted")
    return Work(
        whole,
        lambda folder: [
            ["features", "convert", extracted.folder, "--dtype", "int8", "--out", folder / "store"]
        ],
    )


@pytest.fixture(scope="module")
def importing(corpus: Corpus, extracted: FeatureStore, root: Path) -> Work:
    """One utterance has no file, another one that is no array."""
    export_folder(extracted, root / "npy")
    (root / "npy/utterance-011.npy").write_bytes(b"no array")
    whole = import_folder(
        root / "npy", corpus, root / "imported", shard_rows=ROWS, max_failures=FAILING
    )
    given: list[object] = [
        "features",
        "import",
        root / "npy",
        "--corpus",
        root / "corpus.parquet",
        "--max-failures",
        FAILING,
    ]
    return Work(whole, lambda folder: [[*given, "--out", folder / "store"]])


@pytest.fixture(scope="module")
def transcription(root: Path) -> Work:
    """Of fewer utterances: Whisper takes its time, also a tiny one."""
    from small_whisper import save_whisper

    corpus = small_corpus(root / "spoken", 8)
    corpus.audio_path(3).write_bytes(b"not audio")
    corpus.save(root / "spoken.parquet")
    model = str(save_whisper(root / "whisper-tiny"))
    config = TranscriptionConfig(model=model, backend="transformers", max_tokens=3)
    whole = extract(corpus, config, root / "transcribed", shard_rows=ROWS, max_failures=FAILING)
    path = run_yaml(
        root / "transcription.yaml", root / "spoken.parquet", transcription=config.model_dump()
    )
    return Work(
        whole,
        lambda folder: [["transcribe", path, "--out", folder]],
        f"transcripts/{store_name(corpus, build_extractor(config))}",
    )


@pytest.mark.parametrize("kind", ["extraction", "conversion", "importing", "transcription"])
def test_killed_at_random_moments_and_given_again_it_ends_with_the_same_bytes(
    kind: str, commands: Commands, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    work: Work = request.getfixturevalue(kind)
    expected, chance = bytes_of(work.whole.folder), random.Random(kind)
    alone, touches = tmp_path / "alone", []
    store = work.begin(alone)
    for arguments in work.commands(alone):
        ended = commands(*arguments, below=store)
        assert ended.code == 0, ended.said
        touches.append(ended.touches)
    assert bytes_of(store) == expected
    assert sum(touches) > 4 * work.whole.plan.shards, (
        "a shard is written and renamed, and so is its entry"
    )
    kills = 0
    for attempt in range(TIMES):
        folder = tmp_path / str(attempt)
        store = work.begin(folder)
        for arguments, count in zip(work.commands(folder), touches, strict=True):
            kills += killed_until_done(commands, arguments, store, count, chance)
        assert bytes_of(store) == expected
        assert len(FeatureStore.open(store)) == len(work.whole)
    assert kills >= TIMES


def test_a_kill_leaves_an_unfinished_store(
    commands: Commands, conversion: Work, tmp_path: Path
) -> None:
    """What the comparison above would miss if no kill came before the end."""
    whole, half = conversion.begin(tmp_path / "whole"), conversion.begin(tmp_path / "half")
    touches = commands(*conversion.commands(tmp_path / "whole")[0], below=whole).touches
    assert (
        commands(*conversion.commands(tmp_path / "half")[0], below=half, at=touches // 2).code
        == -signal.SIGKILL
    )
    assert 0 < len(list(half.glob("shard-*.json"))) < COUNT // ROWS
    with pytest.raises(StoreError, match="shard-"):
        FeatureStore.open(half)
