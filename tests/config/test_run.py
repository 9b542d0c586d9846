"""What a configuration file may say, what it becomes, and how each mistake is named."""

from pathlib import Path

import pytest
import yaml

from medusa_jax.cli.opening import shipped_configs
from medusa_jax.config.run import RunConfig
from medusa_jax.config.yaml_file import load_config
from medusa_jax.errors import ConfigError

SMALL = """
name: small
corpus: {source: generated, size: 200}
features:
  logmel: {extractor: logmel, bands: 16}
  text: {extractor: hashed_text, width: 16}
model: {hidden: 32, stack: {logmel: 8}}
training:
  batch_size: 4
  stage1: {epochs: 3, learning_rate: 1e-3}
members:
  - {id: both, modalities: [logmel, text]}
  - {id: other, modalities: [text], seed: 5, model: {hidden: 64}, training: {stage1: {epochs: 9}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_members_inherit_and_may_override_a_single_key(file: Path) -> None:
    both, other = load_config(file).members
    assert (both.model.hidden, both.training.stage1.epochs, both.seed) == (32, 3, 0)
    assert (other.model.hidden, other.training.stage1.epochs, other.seed) == (64, 9, 5)
    assert other.model.stack == {"logmel": 8}, "the rest of the section is inherited"
    assert other.training.stage1.learning_rate == both.training.stage1.learning_rate == 1e-3
    assert other.training.batch_size == 4


def test_the_papers_defaults(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text(
        "{name: bare, corpus: {source: generated}, features: {a: {extractor: logmel}}, members: [{id: x, modalities: [a]}]}"
    )
    config = load_config(path)
    model, training, ensemble = config.members[0].model, config.members[0].training, config.ensemble
    assert (
        model.hidden,
        model.feedforward,
        model.layers,
        model.heads,
        model.dropout,
        model.fusion,
    ) == (1024, 2048, 2, 1, 0.1, "deep")
    assert (
        training.batch_size,
        training.mixup_probability,
        training.mixup_alpha,
        training.patience,
    ) == (16, 0.3, 0.2, 8)
    assert (
        training.class_loss,
        training.attribute_loss,
        training.stage1.learning_rate,
        training.stage2.learning_rate,
    ) == (1.5, 0.4, 1e-5, 1e-5)
    assert (ensemble.seeds, ensemble.batch_size, ensemble.learning_rate, ensemble.attributes) == (
        6,
        128,
        1e-3,
        True,
    )


SETTINGS = {
    "training.batch_size=32": lambda c: (
        c.training.batch_size == c.members[0].training.batch_size == 32
    ),
    "training.stage2.learning_rate=2e-4": None,  # stage2 is not in the file, and has no default number of epochs
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
    "members.9.seed=1": "there is no 'members.9.seed'",
    "members.first.seed=1": "there is no 'members.first.seed'",
    "name.first=1": "there is no 'name.first'",
    "training.batch_size.more=1": "there is no 'training.batch_size.more'",
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
        "member other: no features are called 'txt'",
    ),
    "no modality": (SMALL.replace("modalities: [text]", "modalities: []"), "members.1.modalities"),
    "member twice": (SMALL.replace("id: other", "id: both"), r"member id\(s\) given twice: both"),
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


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        SMALL.replace("size: 200", "size: 2").replace("batch_size: 4", "batch_size: -4")
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "corpus.size" in caught.value.what
    assert "training.batch_size" in caught.value.what


def leaves(node: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """Every value of a dumped configuration with the keys that lead to it."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else None
    )
    return (
        [(path, node)]
        if items is None
        else [leaf for key, value in items for leaf in leaves(value, (*path, str(key)))]
    )


def another(value: object) -> object:
    """A different value of the same type, as far as that is valid."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float) and value:
        return value * 2
    return f"{value}x" if isinstance(value, str) else 1


def test_the_digest_ignores_what_changes_no_number_and_nothing_else(file: Path) -> None:
    config = load_config(file, ["submission.challenge=interspeech2025", "corpus.path=a"])
    assert (
        load_config(
            file, ["about=another", "submission.challenge=interspeech2025", "corpus.path=a"]
        ).digest()
        == config.digest()
    )
    dumped, changed = config.model_dump(mode="json"), 0
    for path, value in leaves(dumped):
        other = yaml.safe_load(yaml.safe_dump(dumped))
        *parents, last = path
        node = other
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        node[int(last) if isinstance(node, list) else last] = another(value)
        try:
            digest = RunConfig.model_validate(other).digest()
        except ValueError:
            continue  # one of a few allowed words
        changed += 1
        outside = path[0] in ("about", "engine", "tracking") or path == (
            "ensemble",
            "inner_folds",
        )  # which only out_of_fold has
        assert (digest == config.digest()) == outside, ".".join(path)
    assert changed > 40


def test_where_features_are_made_is_not_in_the_digest(file: Path) -> None:
    def digest(*settings: str) -> str:
        return load_config(
            file, [f"features.x={{extractor: huggingface, model: m, {', '.join(settings)}}}"]
        ).digest()

    assert digest("device: cpu", "batch_seconds: 3", "offline: false") == digest()
    assert digest("compute: bfloat16") != digest()


def test_key_order_and_round_trip_do_not_matter_to_the_digest(file: Path, tmp_path: Path) -> None:
    config = load_config(file)
    written = tmp_path / "again.yaml"
    written.write_text(
        yaml.safe_dump(config.model_dump(mode="json"), sort_keys=True), encoding="utf-8"
    )
    assert load_config(written) == config
    assert load_config(written).digest() == config.digest()
    assert load_config(file, ["seed=1"]).digest() != config.digest()


def test_a_configuration_is_frozen(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(file).seed = 3


@pytest.mark.parametrize(
    "path", sorted(shipped_configs().glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for word in ("For:", "Command:", "Hardware:", "Duration:", "Expect:"):
        assert any(line.startswith(f"# {word}") for line in head), (
            f"the head of {path.name} does not say {word}"
        )


def test_there_are_shipped_configurations() -> None:
    assert (shipped_configs() / "demo.yaml").is_file()
