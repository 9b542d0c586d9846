"""docs/ and configs/ against the program: keys, defaults, checkpoints, configurations."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import Config
from medusa_jax.config.yaml_file import load_config
from medusa_jax.corpus.labels import CLASSES
from medusa_jax.models.deepser import DeepSER
from medusa_jax.training import checkpoint

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
WIDTH = {"whisper": 1280}  # of the other encoders: 1024

# Table 1 of the paper.
MEMBERS = {
    "01": {"hubert", "roberta"},
    "02": {"wavlm", "hubert", "roberta"},
    "03": {"wavlm", "whisper", "hubert"},
    "04": {"wavlm", "modernbert"},
    "05": {"wavlm", "roberta"},
    "06": {"wavlm", "roberta"},
    "07": {"wavlm", "roberta"},
    "08": {"wavlm", "roberta"},
    "09": {"whisper", "modernbert"},
    "10": {"whisper", "modernbert"},
    "11": {"whisper", "roberta"},
    "12": {"whisper", "roberta"},
    "13": {"whisper", "wavlm"},
    "14": {"whisper", "wavlm", "modernbert"},
}


@pytest.fixture(scope="module")
def configuration():
    """docs/configuration.py as a module."""
    spec = importlib.util.spec_from_file_location("configuration", ROOT / "docs/configuration.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def medusa() -> RunConfig:
    return load_config(ROOT / "configs/medusa.yaml")


def test_the_page_lists_every_key_with_its_default(configuration):
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), (
        "out of date: run `python docs/configuration.py`"
    )


def test_every_section_has_its_table(configuration):
    assert set(configuration.SECTIONS.values()) == set(Config.__subclasses__())
    tables = configuration.tables()
    missing = [
        key
        for model in Config.__subclasses__()
        for key in model.model_fields
        if f"| `{key}` |" not in tables
    ]
    assert not missing


def test_the_script_opens_a_checkpoint_with_orbax_alone(tmp_path):
    script = ROOT / "docs/open_checkpoint.py"
    text = script.read_text(encoding="utf-8")
    imported = {name for node in ast.walk(ast.parse(text)) for name in _imports(node)}
    assert imported == {"sys", "pathlib", "jax", "orbax.checkpoint"}
    assert sum(bool(line.strip()) for line in text.splitlines()[1:]) <= 10

    params = {
        "w1": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)},
        "step": np.int32(7),
    }
    checkpoint.save(
        tmp_path,
        "best",
        21,
        {"params": params, "statistics": {"mean": np.zeros(5, np.float32)}},
        {},
        "digest",
    )
    done = subprocess.run(
        [sys.executable, script, "best-00000021"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {
        "params/w1/kernel (3, 2) float32",
        "params/w1/bias (2,) float32",
        "params/step () int32",
        "statistics/mean (5,) float32",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_says_what_to_expect(path):
    head = path.read_text(encoding="utf-8").split("\nname:")[0]
    for said in ("For:", "Command:", "Hardware:", "Duration:", "Expect:"):
        assert re.search(rf"^# {said} +\S", head, re.M), said
    assert load_config(path).name == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_member_of_a_shipped_configuration_can_be_built(path):
    shapes = set()
    deepsers = [one for one in load_config(path).members if one.task == "deepser"]
    for member in deepsers:  # encoders of the others are not here: tests/tasks/test_finetuning.py
        widths = [WIDTH.get(name, 1024) for name in member.modalities]
        key = (member.modalities, member.model.model_dump_json())
        if key not in shapes:  # shapes only: the paper's sizes would fill the memory
            model = nnx.eval_shape(
                lambda model=member.model, widths=widths: DeepSER(
                    model, widths, len(CLASSES), rngs=nnx.Rngs(0)
                )
            )
            assert len(nnx.state(model, nnx.Param)) > 0
        shapes.add(key)


def test_medusa_is_the_papers_system(medusa):
    assert {member.id: set(member.modalities) for member in medusa.members} == MEMBERS
    assert list(MEMBERS) == [member.id for member in medusa.members]
    assert len({member.seed for member in medusa.members}) == 14
    assert {name: (feature.model, feature.layers) for name, feature in medusa.features.items()} == {
        "wavlm": ("wavlm-large", "sum_last_4"),
        "hubert": ("hubert-large", "sum_last_4"),
        "whisper": ("whisper-large-v3", "last"),
        "roberta": ("roberta-large", "sum_last_4"),
        "modernbert": ("modernbert-large", "sum_last_4"),
    }
    assert all(feature.offline for feature in medusa.features.values())
    assert (
        medusa.transcription.backend,
        medusa.transcription.model,
        medusa.transcription.language,
    ) == ("auto", "whisper-large-v3", "en")
    assert (medusa.corpus.source, medusa.submission.challenge) == ("msp-podcast", "interspeech2025")


def test_medusa_has_the_papers_sizes(medusa):
    for member in medusa.members:
        model, training = member.model, member.training
        assert (
            model.hidden,
            model.feedforward,
            model.layers,
            model.heads,
            model.dropout,
            model.fusion,
        ) == (1024, 2048, 2, 1, 0.1, "deep")
        assert not model.stack
        assert (
            training.batch_size,
            training.stage1.learning_rate,
            training.stage2.learning_rate,
            training.targets,
        ) == (16, 1e-5, 1e-5, "soft")
        assert (training.mixup_probability, training.class_loss, training.attribute_loss) == (
            0.3,
            1.5,
            0.4,
        )
    ensemble = medusa.ensemble
    assert (ensemble.fit_on, ensemble.seeds, ensemble.batch_size, ensemble.learning_rate) == (
        "train",
        6,
        128,
        1e-3,
    )


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []


def test_the_page_on_the_studies_says_the_tables_numbers():
    """Each difference with an interval is in a table of the commands; each table is linked."""
    folder = ROOT / "docs/results"
    page = (folder / "studies.md").read_text(encoding="utf-8")
    tables = {path: path.read_text(encoding="utf-8") for path in folder.glob("studies/*/*.md")}
    said = re.findall(r"[+-]0\.\d{3} \[[+-]0\.\d{3}, [+-]0\.\d{3}\]", page)
    assert len(said) > 15
    assert [text for text in said if not any(text in table for table in tables.values())] == []
    linked = {(folder / link).resolve() for link in re.findall(r"\]\((studies/[^)]+\.md)\)", page)}
    assert linked <= tables.keys()
    assert {path.parent for path in tables} == {path.parent for path in linked}
    assert all(path.with_suffix(".csv").is_file() for path in tables)
