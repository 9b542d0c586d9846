"""Stores of transcripts: resumed, shared, checked, read into a corpus, used in a run."""

import json
import shutil
from pathlib import Path

import pytest
from small_corpus import bytes_of, small_corpus
from small_run import small_config, small_yaml
from typer.testing import CliRunner

from medusa_jax.cli.app import app
from medusa_jax.config.run import RunConfig
from medusa_jax.errors import ConfigError, CorpusError, FeatureError, StoreError
from medusa_jax.features.extract import extract, extract_share
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import inputs_digest, store_name
from medusa_jax.runs.inputs import load_corpus, read_corpus
from medusa_jax.runs.run import Run
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import Share
from medusa_jax.transcription.transcripts import export, texts_of, with_transcripts

torch = pytest.importorskip("torch")
from small_whisper import config_of, save_whisper  # noqa: E402


def test_a_killed_transcription_ends_with_the_same_bytes(whisper, corpus, store, tmp_path):
    def stop(done, total):
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(
            corpus,
            config_of(whisper),
            tmp_path / "store",
            max_failures=0.2,
            shard_rows=4,
            progress=stop,
        )
    (folder,) = (tmp_path / "store").iterdir()
    kept = (folder / "shard-00000.arrow").stat().st_mtime_ns
    extract(corpus, config_of(whisper), tmp_path / "store", max_failures=0.2, shard_rows=4)
    assert bytes_of(folder) == bytes_of(store.folder)
    assert (folder / "shard-00000.arrow").stat().st_mtime_ns == kept


def test_shares_make_the_same_store(whisper, corpus, store, tmp_path):
    for share, missing in ((Share(1, 2), (1,)), (Share(2, 2), ())):
        made = extract_share(
            corpus, config_of(whisper), tmp_path, share, max_failures=0.2, shard_rows=4
        )
        assert made == (tmp_path / store.folder.name, missing)
    assert bytes_of(tmp_path / store.folder.name) == bytes_of(store.folder)


def test_a_bad_file_is_a_failure_and_damage_is_refused(whisper, corpus, store, tmp_path):
    assert [failure.id for failure in store.failed] == ["utterance-006.wav"]
    assert json.loads((store.folder / "failures.jsonl").read_text())["error"] == "AudioError"
    whole = texts_of(store)
    assert len(whole) == 9
    folder = shutil.copytree(store.folder, tmp_path / store.folder.name)
    content = bytearray((folder / "shard-00001.arrow").read_bytes())
    content[-20] ^= 1
    (folder / "shard-00001.arrow").write_bytes(content)
    with pytest.raises(StoreError, match=r"shard-00001\.arrow is damaged"):
        texts_of(FeatureStore.open(folder))
    assert texts_of(extract(corpus, config_of(whisper), tmp_path, max_failures=0.2)) == whole


def test_transcripts_replace_the_corpuss_own_and_reach_the_name_of_text_features(
    corpus, store, whisper
):
    replaced = with_transcripts(corpus, store)
    column = replaced.frame["transcript"]
    assert column.isna().tolist() == [i == 6 for i in range(10)]
    assert column[0] == texts_of(store)["utterance-000.wav"]
    roberta = type("Text", (), {"reads": "text"})()
    assert inputs_digest(replaced, roberta) != inputs_digest(corpus, roberta)
    assert store_name(corpus, build_extractor(config_of(whisper))) == store_name(
        replaced, build_extractor(config_of(whisper))
    )
    with pytest.raises(CorpusError, match="1 of 11 utterances are not in these transcripts"):
        with_transcripts(small_corpus(corpus.root.parent / "larger", 11), store)


def test_nothing_said_stays_the_empty_string(tmp_path, monkeypatch, whisper):
    from medusa_jax.transcription.whisper import WhisperDecoder

    monkeypatch.setattr(WhisperDecoder, "_decode", lambda self, waves: [" "] * len(waves))
    quiet = small_corpus(tmp_path / "corpus", 3)
    made = with_transcripts(quiet, extract(quiet, config_of(whisper), tmp_path / "store"))
    assert made.frame["transcript"].tolist() == ["", "", ""]


def test_a_store_of_features_is_no_transcript(corpus, tmp_path):
    from medusa_jax.config.features import LogMelConfig

    made = extract(corpus, LogMelConfig(bands=8), tmp_path, max_failures=0.2)
    with pytest.raises(StoreError, match="not transcripts"):
        texts_of(made)


def test_export_writes_a_text_file_an_utterance_and_nothing_over_another(corpus, store, tmp_path):
    heard_corpus = with_transcripts(corpus, store)
    assert export(heard_corpus, tmp_path / "txt") == 9
    for id, words in texts_of(store).items():
        assert (tmp_path / f"txt/{Path(id).stem}.txt").read_text(encoding="utf-8") == f"{words}\n"
    with pytest.raises(CorpusError, match="not empty"):
        export(heard_corpus, tmp_path / "txt")


# In a run


def run_of(tmp_path, **changes):
    return Run(RunConfig.model_validate(small_config(**changes)), tmp_path)


def test_transcripts_come_from_one_place(whisper):
    section = {"model": str(whisper)}
    with pytest.raises(ValueError, match="both provide transcripts"):
        RunConfig.model_validate(
            small_config(corpus={"transcripts": "somewhere"}, transcription=section)
        )
    both = {"transcripts": "somewhere", "transcript_store": "elsewhere"}
    with pytest.raises(ValueError, match="exclude each other"):
        RunConfig.model_validate(small_config(corpus=both))
    RunConfig.model_validate(
        small_config(corpus={"transcripts": "somewhere"}, transcription={"backend": "corpus"})
    )


def test_a_store_of_transcripts_is_not_a_folder_of_text_files(store, tmp_path):
    source = {"source": "table", "path": str(tmp_path), "transcripts": str(store.folder)}
    config = run_of(tmp_path, corpus=source).config.corpus
    with pytest.raises(ConfigError, match="a store of transcripts") as caught:
        read_corpus(config, tmp_path)
    assert "corpus.transcript_store" in str(caught.value.hint)


def test_a_corpus_is_read_with_a_store_of_transcripts(corpus, store, tmp_path):
    corpus.save(tmp_path / "corpus.parquet")
    source = {"source": "table", "path": str(tmp_path / "corpus.parquet")}
    changes = {**source, "transcript_store": str(store.folder)}
    read = read_corpus(run_of(tmp_path, corpus=changes).config.corpus, tmp_path)
    assert read.frame["transcript"].dropna().tolist() == list(texts_of(store).values())


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A window holds each utterance of the generated corpus."""
    return save_whisper(tmp_path_factory.mktemp("models") / "whisper-wide", seconds=6)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """The path of the generated corpus of a small run."""
    out = tmp_path_factory.mktemp("generated")
    return {"path": str(read_corpus(run_of(out).config.corpus, out).root)}


@pytest.mark.slow
def test_a_run_transcribes_before_it_makes_text_features(wide, speech, tmp_path):
    section = {"model": str(wide), "max_tokens": 2}
    run, plain = (
        run_of(tmp_path, corpus=speech, transcription=section),
        run_of(tmp_path, corpus=speech),
    )
    assert run.folder != plain.folder
    run.folder.mkdir(parents=True)
    made = load_corpus(run)
    assert (
        made.frame["transcript"] != read_corpus(plain.config.corpus, tmp_path).frame["transcript"]
    ).mean() > 0.9
    (folder,) = (tmp_path / "transcripts").iterdir()
    given = run_of(tmp_path, corpus={**speech, "transcript_store": str(folder)})
    assert (
        read_corpus(given.config.corpus, tmp_path).frame["transcript"].tolist()
        == made.frame["transcript"].tolist()
    )


@pytest.mark.slow
def test_the_command_shares_resumes_and_exports(wide, speech, tmp_path):
    path = small_yaml(
        tmp_path / "small.yaml", corpus=speech, transcription={"model": str(wide), "max_tokens": 2}
    )

    def medusa(*arguments):
        return CliRunner().invoke(
            app, ["transcribe", str(path), "--out", str(tmp_path / "runs"), *arguments]
        )

    assert "the transcripts are complete" in medusa("--shard", "1/1").stdout
    (folder,) = (tmp_path / "runs/transcripts").iterdir()
    before = bytes_of(folder)
    done = medusa("--export", str(tmp_path / "txt"))
    assert "test3: 40 of 40 utterances have a transcript" in done.stdout
    assert len(list((tmp_path / "txt").glob("*.txt"))) == 160
    assert bytes_of(folder) == before
    assert not list((tmp_path / "runs").glob("small-*")), "the run folder is not touched"
    assert "train: 88 of 88" in medusa("--from", "corpus").stdout
    assert isinstance(medusa("--set", "transcription.model=/no/such").exception, FeatureError)


def test_gaps_in_the_corpuss_own_transcripts_are_logged(tmp_path, caplog):
    from medusa_jax.runs.inputs import transcribed

    made = small_corpus(tmp_path, 4, transcripts=["a", "", None, "b"])
    assert transcribed(run_of(tmp_path, transcription={"backend": "corpus"}), made) is made
    assert [record.message for record in caplog.records] == [
        "1 of 4 utterances of train have no transcript"
    ]


def test_a_run_without_the_section_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["transcribe", str(small_yaml(tmp_path / "small.yaml"))])
    assert isinstance(result.exception, ConfigError)
