"""Transcripts by a tiny random Whisper: batches, long audio, settings, stores."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from small_corpus import RATE, bytes_of, small_corpus, waves
from small_run import small_config, small_yaml
from typer.testing import CliRunner

from medusa_jax.cli.app import app
from medusa_jax.config.run import RunConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.errors import ConfigError, CorpusError, DependencyError, FeatureError, StoreError
from medusa_jax.features.extract import extract, extract_share
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import inputs_digest, store_name
from medusa_jax.runs.inputs import load_corpus, read_corpus
from medusa_jax.runs.run import Run
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import Share
from medusa_jax.transcription.transcriber import windows
from medusa_jax.transcription.transcripts import export, texts_of, with_transcripts

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from small_whisper import save_whisper  # noqa: E402

TOKENS = 6


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return save_whisper(tmp_path_factory.mktemp("models") / "whisper-tiny")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ten noises, one of them not audio."""
    made = small_corpus(tmp_path_factory.mktemp("corpus"), 10)
    made.audio_path(6).write_bytes(b"not audio")
    return made


def config_of(whisper, **settings):
    return TranscriptionConfig(model=str(whisper), **{"max_tokens": TOKENS, **settings})


def heard(config, inputs):
    return texts(build_extractor(config), inputs)


def texts(transcriber, inputs):
    return [frames.tobytes().decode() for frames in transcriber(inputs)]


@pytest.fixture(scope="module")
def store(whisper, corpus, tmp_path_factory):
    """The corpus transcribed in one go, four utterances a shard."""
    return extract(
        corpus,
        config_of(whisper),
        tmp_path_factory.mktemp("stores") / "whole",
        max_failures=0.2,
        shard_rows=4,
    )


# What is heard


@pytest.mark.parametrize("beams", [1, 3])
def test_the_words_are_those_of_transformers_generate(whisper, beams):
    inputs = waves(4, longest=1.0)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    model.generation_config.max_length = None
    feeder, plain = (
        transformers.WhisperFeatureExtractor.from_pretrained(whisper),
        transformers.AutoTokenizer.from_pretrained(whisper),
    )
    expected = []
    for wave in inputs:
        mel = feeder(wave, sampling_rate=RATE, return_tensors="pt")["input_features"]
        tokens = model.generate(
            mel,
            language="en",
            task="transcribe",
            num_beams=beams,
            do_sample=False,
            max_new_tokens=TOKENS,
        )
        expected.append(
            " ".join(plain.batch_decode(tokens, skip_special_tokens=True)[0].split()) + "\n"
        )
    assert heard(config_of(whisper, beams=beams), inputs) == expected
    assert len(set(expected)) > 2, "the model hears differences, or the test says nothing"


@pytest.mark.parametrize("beams", [1, 3])
def test_nobodys_words_depend_on_the_batch(whisper, beams):
    inputs = waves(7, longest=1.0)
    threes, together = (
        build_extractor(config_of(whisper, beams=beams, batch_seconds=seconds))
        for seconds in (3, 100)
    )
    alone = [texts(together, [wave])[0] for wave in inputs]
    assert texts(threes, inputs) == texts(together, inputs) == alone
    assert texts(together, inputs[::-1]) == alone[::-1]
    assert len(set(alone)) > 3


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_lower_precisions_write_too(whisper, compute):
    assert all(text.endswith("\n") for text in heard(config_of(whisper, compute=compute), waves(2)))


def test_long_audio_is_heard_window_by_window(whisper):
    first, second = waves(2, seed=3, longest=0.9)
    gap = np.zeros(RATE - len(first), np.float32)
    whole = np.concatenate([first, gap, second])
    cut = windows(whole, RATE)
    assert len(cut) == 2
    assert heard(config_of(whisper), [whole]) == [
        " ".join(text.strip() for text in heard(config_of(whisper), cut)) + "\n"
    ]


def test_windows_are_cut_where_it_is_quiet():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(80 * RATE).astype(np.float32)
    wave[27 * RATE : 27 * RATE + RATE // 2] = 0
    cut = windows(wave)
    assert np.array_equal(np.concatenate(cut), wave)
    assert all(25 * RATE <= len(part) <= 30 * RATE for part in cut[:-1])
    assert 27 * RATE < len(cut[0]) < 27.5 * RATE
    assert [len(part) for part in windows(wave[: 30 * RATE])] == [30 * RATE]


def test_the_identity_names_what_decides_the_words(whisper, tmp_path):
    def identity(**settings):
        return build_extractor(config_of(whisper, **settings)).identity()

    first = identity()
    assert first["model"] == "whisper-tiny"
    assert {
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "preprocessor_config.json",
    } <= set(first["files"])
    assert str(whisper.parent) not in json.dumps(first)
    assert identity(batch_seconds=3, device="cpu") == first
    for other in ({"language": "de"}, {"beams": 2}, {"max_tokens": 5}, {"compute": "bfloat16"}):
        assert identity(**other) != first, other


def test_english_alone_and_another_language(whisper, tmp_path):
    english = save_whisper(tmp_path / "english", multilingual=False)
    assert heard(config_of(english), waves(1))
    for folder, language, message in (
        (english, "de", "English only"),
        (whisper, "fr", "does not support the language 'fr'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_extractor(config_of(folder, language=language)).prepare()
    with pytest.raises(ConfigError, match="at most 36 tokens"):
        build_extractor(config_of(whisper, max_tokens=37))


def test_a_model_of_another_kind_does_not_transcribe(whisper, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(FeatureError, match="do not transcribe"):
        build_extractor(config_of(tmp_path))


# The store


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
    """Where the generated corpus of a small run lies."""
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


def test_gaps_in_the_corpuss_own_transcripts_are_told(tmp_path, caplog):
    from medusa_jax.runs.inputs import transcribed

    made = small_corpus(tmp_path, 4, transcripts=["a", "", None, "b"])
    assert transcribed(run_of(tmp_path, transcription={"backend": "corpus"}), made) is made
    assert [record.message for record in caplog.records] == [
        "1 of 4 utterances of train have no transcript"
    ]


def test_a_run_without_the_section_says_so(tmp_path):
    result = CliRunner().invoke(app, ["transcribe", str(small_yaml(tmp_path / "small.yaml"))])
    assert isinstance(result.exception, ConfigError)


# faster-whisper


def test_faster_whisper_names_its_extra_and_its_converter(whisper, tmp_path, monkeypatch):
    with pytest.raises(FeatureError, match="CTranslate2") as caught:
        build_extractor(config_of(whisper, backend="faster-whisper"))
    assert "ct2-transformers-converter" in caught.value.hint
    (tmp_path / "model.bin").touch()
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(DependencyError) as missing:
        build_extractor(config_of(tmp_path, backend="faster-whisper")).prepare()
    assert "medusa-jax[faster-whisper]" in missing.value.hint


@pytest.mark.slow
def test_faster_whisper_hears_too(tmp_path):
    pytest.importorskip("faster_whisper", reason="the extra faster-whisper is not installed")
    from ctranslate2.converters import TransformersConverter

    source = save_whisper(tmp_path / "source", seconds=30)
    TransformersConverter(
        str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(tmp_path / "converted"))
    config = config_of(tmp_path / "converted", backend="faster-whisper", device="cpu")
    inputs = waves(4, longest=1.0)
    first = heard(config, inputs)
    assert first == heard(config, inputs[::-1])[::-1]
    assert len(set(first)) > 1
    assert build_extractor(config).identity()["files"].keys() >= {"model.bin", "tokenizer.json"}
