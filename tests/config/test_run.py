"""Inheritance of members, the run's digest, and the shipped configurations."""

from pathlib import Path

import pytest
import yaml
from small_config import SMALL

from medusa_jax.cli.opening import shipped_configs
from medusa_jax.config.corpus import OPTIONAL
from medusa_jax.config.yaml_file import load_config
from medusa_jax.errors import ConfigError


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
        "{name: bare, corpus: {source: generated}, features: {a: {extractor: logmel}}, "
        "members: [{id: x, modalities: [a]}]}"
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


@pytest.mark.parametrize(
    "setting",
    [
        "corpus.annotator_dropout=0.2",
        "corpus.reweight=true",
        "corpus.hold_out_list=held_out.txt",
        "corpus={source: ravdess, folds: 2, fold: 1}",
    ],
)
def test_what_is_off_by_default_enters_the_digest_where_it_is_on(file: Path, setting: str) -> None:
    assert load_config(file, [setting]).digest() != load_config(file).digest()
    on = load_config(file, [setting]).corpus
    assert all(getattr(load_config(file).corpus, key) in (0, None) for key in OPTIONAL)
    assert any(getattr(on, key) for key in OPTIONAL)


def with_text(tmp_path: Path, text: str, modalities: list[str]) -> Path:
    """A run of a member that fine-tunes an encoder on waves."""
    config = yaml.safe_load(SMALL) | {"finetuning": {"backbones": {"wave": "hf:nowhere"}}}
    config["features"]["wave"] = {"extractor": "waveform"}
    member = {"id": "tuned", "task": "finetuning", "modalities": modalities}
    config["members"] = [member | {"finetuning": {"text": text}}]
    path = tmp_path / "tuned.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.parametrize("text", ["sum", "multiply"])
def test_a_condition_on_text_needs_a_text(tmp_path: Path, text: str) -> None:
    """And the other way round; neither is ignored."""
    load_config(with_text(tmp_path, text, ["wave", "text"]))
    load_config(with_text(tmp_path, "none", ["wave"]))
    with pytest.raises(ConfigError, match="this member has none: add one, or set text: none"):
        load_config(with_text(tmp_path, text, ["wave"]))
    with pytest.raises(ConfigError, match=r"set finetuning\.text"):
        load_config(with_text(tmp_path, "none", ["wave", "text"]))
