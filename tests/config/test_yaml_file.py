"""A configuration file and `--set` become a `RunConfig`, and each mistake is named."""

from pathlib import Path

import pytest
from small_config import SMALL

from medusa_jax.config.yaml_file import load_config
from medusa_jax.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


SETTINGS = {
    "training.batch_size=32": lambda c: (
        c.training.batch_size == c.members[0].training.batch_size == 32
    ),
    # stage2 is not in the file, and has no default number of epochs
    "training.stage2.learning_rate=2e-4": None,
    "members.1.seed=7": lambda c: (c.members[0].seed, c.members[1].seed) == (0, 7),
    "members.0.model.fusion=late": lambda c: (
        (c.members[0].model.fusion, c.members[1].model.fusion) == ("late", "deep")
    ),
    "corpus.path=/a=b": lambda c: c.corpus.path == "/a=b",
    "model.stack={text: 2}": lambda c: c.model.stack == {"text": 2},
    "ensemble.epochs=5": lambda c: c.ensemble.epochs == 5,
    "submission.challenge=odyssey2024": lambda c: (
        c.submission and c.submission.challenge == "odyssey2024"
    ),
    "members.1.modalities.0=logmel": lambda c: c.members[1].modalities == ("logmel",),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_go_over_the_file(file: Path, setting: str) -> None:
    holds = SETTINGS[setting]
    if holds is None:
        with pytest.raises(ConfigError, match=r"training\.stage2\.epochs: Field required"):
            load_config(file, [setting])
    else:
        assert holds(load_config(file, [setting]))
        assert not holds(load_config(file))


def test_the_last_setting_counts(file: Path) -> None:
    assert (
        load_config(file, ["training.batch_size=8", "training.batch_size=9"]).training.batch_size
        == 9
    )


BAD_SETTINGS = {
    "training.batch_size": "'training.batch_size' is not a setting",
    "training.batch_sise=3": "unknown key 'training.batch_sise': did you mean 'batch_size'",
    "members.9.seed=1": "no key 'members.9.seed'",
    "members.first.seed=1": "no key 'members.first.seed'",
    "name.first=1": "no key 'name.first'",
    "training.batch_size.more=1": "no key 'training.batch_size.more'",
    "training.batch_size=[1": "not a YAML value",
    "training.batch_size=many": "training.batch_size: Input should be a valid integer",
    "training.batch_size=0": "training.batch_size: Input should be greater than or equal to 1",
    "training=3": "training",
    "members=3": "members: Input should be a valid",
    "members.0=3": "members.0",
    "=3": "unknown key ''",
    "training.mixup_alpha=.nan": "training.mixup_alpha",
    "corpus.source=msp": "corpus.source",
    "model.dropout=1": "model.dropout",
    "model.heads=5": r"hidden \(32\) must be a multiple of heads \(5\)",
    "model.stack.logmel=0": "model.stack.logmel",
    "features.logmel.extractor=mfcc": "features.logmel",
    "members.0.id=../up": "members.0.id",
    "name=a/b": "name: String should match pattern",
}


@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_a_bad_setting_is_named(file: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=BAD_SETTINGS[setting]):
        load_config(file, [setting])


BAD_FILES = {
    "unknown section": (
        SMALL + "trainning: {batch_size: 3}\n",
        "unknown key 'trainning': did you mean 'training'",
    ),
    "unknown key in a member": (
        SMALL.replace("seed: 5", "sead: 5"),
        "unknown key 'members.1.sead': did you mean 'seed'",
    ),
    "unknown key, nothing alike": (SMALL + "zzzzzz: 1\n", "unknown key 'zzzzzz'"),
    "key of another extractor": (SMALL.replace("bands: 16", "width: 16"), "width"),
    "unknown modality": (
        SMALL.replace("modalities: [text]", "modalities: [txt]"),
        "member other: unknown modality 'txt'",
    ),
    "no modality": (SMALL.replace("modalities: [text]", "modalities: []"), "members.1.modalities"),
    "member twice": (SMALL.replace("id: other", "id: both"), r"duplicate member id\(s\): both"),
    "no members": (SMALL.split("members:")[0] + "members: []\n", "members"),
    "nothing required": ("name: x\n", "corpus: Field required"),
    "a list": ("- 1\n- 2\n", "a configuration is a mapping of sections"),
    "empty": ("", "a configuration is a mapping of sections"),
    "not YAML": ("name: [a\nb: }", "not YAML"),
    "a Python object": ("name: !!python/object/apply:os.getcwd []", "not YAML"),
    "tabs": ("name:\n\t- a", "not YAML"),
    "binary": (b"\xff\xfe\x00\x01", "cannot be read"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named(tmp_path: Path, case: str) -> None:
    content, message = BAD_FILES[case]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert caught.value.where == path


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_config(tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in str(caught.value)


def test_a_mistake_in_a_shared_section_is_reported_once(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["training.batchsize=3", "model.heads=5"])
    assert caught.value.what.count("batchsize") == caught.value.what.count("heads") == 1


def test_each_mistake_of_a_member_is_reported(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["members.0.model.heads=5", "members.1.training.batch_size=0"])
    lines = caught.value.what.splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "members.0.model",
        "members.1.training.batch_size",
    ]


def test_several_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        SMALL.replace("size: 200", "size: 2").replace("batch_size: 4", "batch_size: -4")
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "corpus.size" in caught.value.what
    assert "training.batch_size" in caught.value.what
