"""Each configuration key, found from the models, changes a run's digest and reaches its code.

A key that changes no number must be in `CHANGES_NO_NUMBER` and leave the digest as it is.
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from dialogue_task import WIDTHS as WORDS
from dialogue_task import dialogue_data, dialogue_member, dialogue_stores
from member_effects import first_difference, toy_data_in
from pydantic import BaseModel, ValidationError
from toy_task import WIDTHS, toy_examples, toy_member

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.config.features import HuggingFaceConfig, StoreConfig
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.config.run import CHANGES_NO_NUMBER, SHARED, RunConfig
from medusa_jax.config.section import Config
from medusa_jax.features.registry import build_extractor

EVERYTHING: dict[str, Any] = {
    "name": "every",
    "corpus": {"source": "generated", "folds": 3, "fold": 1},
    "features": {
        "logmel": {"extractor": "logmel"},
        "waveform": {"extractor": "waveform"},
        "opensmile": {
            "extractor": "opensmile",
            "level": "functionals",
            "feature_set": "ComParE_2016",
        },
        "hashed_text": {"extractor": "hashed_text"},
        "frames": {"extractor": "frames", "width": 17},
        "huggingface": {"extractor": "huggingface", "model": "roberta-large"},
        "store": {"extractor": "store", "path": "somewhere"},
    },
    "transcription": {},
    "finetuning": {"backbones": {"logmel": "wavlm-large"}},
    "conversation": {},
    "members": [
        {"id": "plain", "modalities": ["logmel", "hashed_text"]},
        {"id": "other", "modalities": ["logmel", "hashed_text"], "model": {"hidden": 64}},
    ],
    "ensemble": {"fit_on": "out_of_fold"},
    "submission": {},
    "ablation": {"rows": {"small": {"about": "a row"}}},
}
"""Every section, so that every key is there to be changed."""

EXCLUDES: dict[tuple[str, ...], dict[str, Any]] = {
    ("corpus", "transcripts"): {"transcription": {"backend": "corpus"}},
    ("corpus", "transcript_store"): {"transcription": {"backend": "corpus"}},
    ("corpus", "hold_out_list"): {"corpus": {"source": "generated"}},
    ("corpus", "merge_excited"): {"corpus": {"source": "generated", "label_set": 4}},
    ("corpus", "epoch_by"): {"corpus": {"source": "generated"}},
    ("ensemble", "kind"): {"submission": None},
}
"""By key: the sections that it needs, or without which it may not be set."""

KINDS = ("extractor", "task")
"""Keys that select a section's kind: its other keys would not fit another value."""


def identity_of(config: RunConfig, name: str) -> object:
    """The identity in a feature store's ledger and name, and how frames are stored."""
    section = config.features[name]
    if isinstance(section, StoreConfig | HuggingFaceConfig):
        return section  # needs a store or a pretrained model: tests/store, tests/features
    if name == "opensmile" and importlib.util.find_spec("opensmile") is None:
        return section
    return build_extractor(section).identity(), section.dtype


RECEIVED: dict[str, Callable[[RunConfig, tuple[str, ...]], object]] = {
    "model": lambda config, path: config.members[0].model,
    "training": lambda config, path: config.members[0].training,
    "features": lambda config, path: identity_of(config, path[1]),
}
"""By section: an object that its code receives and that must differ where a key does.

Members receive `model` and `training`; below, each of a member's keys changes its training.
"""

MEMBER = {
    **EVERYTHING,
    "features": {name: {"extractor": "hashed_text", "width": WIDTHS[name]} for name in WIDTHS},
    "members": [toy_member().model_dump(mode="json")],
}
"""A run of a small member that can be built, on `toy_task`'s corpus."""


def resolved(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` with each default written out, but for the sections that members inherit."""
    members = {"members": copy.deepcopy(raw["members"])}
    return RunConfig.model_validate(raw).model_dump(mode="json") | members


def keys_of(section: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each key that is no section itself."""
    for name in type(section).model_fields:
        yield from _below(getattr(section, name), (*path, name))


def _below(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, BaseModel):
        yield from keys_of(value, path)
    elif isinstance(value, dict | tuple) and any(
        isinstance(one, BaseModel) for one in _each(value)
    ):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _below(inner, (*path, str(key)))
    elif path[-1] not in KINDS:
        yield path


def _each(value: dict[str, object] | tuple[object, ...]) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else list(value)


BASE = RunConfig.model_validate(resolved(EVERYTHING))
KEYS = list(keys_of(BASE))
MEMBER_KEYS = list(keys_of(toy_member(), ("members", "0")))
for section in ("finetuning", "conversation"):  # of other tasks: below
    MEMBER_KEYS.remove(("members", "0", section))


def schema_of(config: RunConfig, path: tuple[str, ...]) -> dict[str, Any]:
    """The JSON schema of the key at `path`."""
    section: Any = config
    for key in path[:-1]:
        section = _at(section, key)
    return type(section).model_json_schema()["properties"][path[-1]]


def _at(node: Any, key: str) -> Any:
    if isinstance(node, BaseModel):
        return getattr(node, key)
    return node[key] if isinstance(node, dict) else node[int(key)]


def candidates(schema: dict[str, Any], value: Any) -> Iterator[Any]:
    """Values that may be valid for a key beside the present one."""
    for option in schema.get("anyOf", [schema]):
        yield from option.get("enum", [])
        match option.get("type"):
            case "boolean":
                yield not value
            case "integer" | "number":
                yield from (1, 2, 3, 0.05, 0.5, 40, 100, 1000)
            case "string":
                yield from ("other", "cpu", "de", "0" * 8)
            case "array":
                yield from ([*value][:1], [*value][::-1], [2, 6], ["letters"])
            case "object":
                yield from ({"words": 2}, {"hidden": 1}, {"logmel": 2}, {"patience": 1})
                yield from ({"letters": "wavlm-large"}, {"logmel": "wavlm-base"})


def changed(
    path: tuple[str, ...], base: dict[str, Any] = EVERYTHING
) -> tuple[RunConfig, RunConfig]:
    """A configuration, and the same with another valid value of the key at `path`."""
    raw = resolved(base | EXCLUDES.get(path, {}))
    before = RunConfig.model_validate(raw)
    present: Any = before.model_dump(mode="json")
    for key in path:
        present = _at(present, key)
    for value in candidates(schema_of(before, path), present):
        try:
            after = RunConfig.model_validate(with_value(copy.deepcopy(raw), path, value))
        except ValidationError:
            continue
        if after != before:
            return before, after
    raise AssertionError(f"no other valid value found for {'.'.join(path)}")


def with_value(raw: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`raw` with the key at `path` set to `value`, in sections added where they are missing."""
    node: Any = raw
    for key in path[:-1]:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[path[-1]] = value
    return raw


def changes_no_number(path: tuple[str, ...]) -> bool:
    """`path` is in `CHANGES_NO_NUMBER`."""
    node: Any = CHANGES_NO_NUMBER
    for key in path:
        if isinstance(node, set):
            return key in node
        node = node.get("__all__", node.get(key, {}))
        if node is True:
            return True
    return False


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_has_an_effect(path):
    before, after = changed(path)
    assert (after.digest() == before.digest()) == changes_no_number(path)
    received = RECEIVED.get(path[0])
    if received is not None and not changes_no_number(path):
        assert received(after, path) != received(before, path)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return toy_examples(tmp_path_factory.mktemp("toy") / "stores")


@pytest.mark.parametrize("path", MEMBER_KEYS, ids=".".join)
def test_every_key_of_a_member_changes_its_training(path, examples):
    """Phases, rates, weights of losses, batches, score, shapes of weights or the step's program."""
    before, after = changed(path, MEMBER)
    data = partial(toy_data_in, examples)
    assert first_difference(before.members[0], after.members[0], data)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run of a member that fine-tunes a tiny WavLM on "letters", as if its frames were those of
    the convolutions.
    """
    pytest.importorskip("torch")
    from small_models import save_model

    folder = save_model("wavlm-base", tmp_path_factory.mktemp("model") / "wavlm")
    member = toy_member().model_dump(mode="json", exclude={"model"}) | {"task": "finetuning"}
    section = {
        "backbones": {"letters": f"hf:{folder}"},
        "gender": "sum",
        "text": "sum",
        "width": 8,
        "loss": "focal",
        "crop_seconds": 5.0,
        "unfreeze_epochs": 1.0,
    }
    return {**MEMBER, "members": [member | {"finetuning": section}]}


FINETUNING = sorted(set(FinetuningConfig.model_fields) - {"backbones", "window"})
"""Its keys but for the encoder itself, and a setting of Whisper alone."""
NEEDS: dict[str, dict[str, object]] = {
    "lora": {"unfreeze_epochs": 0.0},
    "top_layers": {"unfreeze_epochs": 0.0},
}
"""By key: the others without which it may be set."""


@pytest.mark.slow
@pytest.mark.parametrize("key", FINETUNING)
def test_every_key_of_finetuning_changes_its_training(key, tuned, examples):
    (member,) = tuned["members"]
    section = member["finetuning"] | NEEDS.get(key, {})
    base = {**tuned, "members": [member | {"finetuning": section}]}
    before, after = changed(("members", "0", "finetuning", key), base)
    data = partial(toy_data_in, examples)
    assert first_difference(before.members[0], after.members[0], data, ignored={"traced"})


CONVERSATION: dict[str, dict[str, object]] = {
    "top_k": {"routing": "top_k"},
    "speakers": {"speakers": "none"},  # by order or by name: tests/tasks/test_conversation.py
}
"""By key: the others without which it has no effect."""


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory):
    """The dataset of a member, on small conversations."""
    given = dialogue_stores(tmp_path_factory.mktemp("talks"))
    return partial(dialogue_data, *given)


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(ConversationConfig.model_fields))
def test_every_key_of_conversation_changes_its_training(key, dialogues):
    member = dialogue_member(conversation=CONVERSATION.get(key, {})).model_dump(mode="json")
    features = {name: {"extractor": "hashed_text", "width": WORDS[name]} for name in WORDS}
    base = {**EVERYTHING, "features": features, "members": [member]}
    before, after = changed(("members", "0", "conversation", key), base)
    one, other = before.members[0], after.members[0]
    assert first_difference(one, other, dialogues, ignored={"traced"})
    assert first_difference(one, one.model_copy(deep=True), dialogues) is None


def test_a_member_without_a_change_trains_alike(examples):
    """Else the test above could not fail."""
    (member,) = RunConfig.model_validate(MEMBER).members
    data = partial(toy_data_in, examples)
    assert first_difference(member, member.model_copy(deep=True), data) is None


def test_every_section_is_reached():
    """A new section needs its place in `EVERYTHING`."""
    reached = {type(BASE)}
    for path in KEYS:
        node: Any = BASE
        for key in path[:-1]:
            node = _at(node, key)
            reached.add(type(node))
    assert set(Config.__subclasses__()) <= reached


def test_every_excluded_key_exists():
    """A key that was renamed must not stay in the list."""
    paths = {path[:1] for path in KEYS} | {(path[0], path[-1]) for path in KEYS}
    for section, keys in CHANGES_NO_NUMBER.items():
        names = keys.get("__all__") if isinstance(keys, dict) else keys
        wanted = {(section,)} if names is True else {(section, name) for name in names}
        assert wanted <= paths


@pytest.mark.parametrize("section", SHARED)
def test_a_member_may_set_every_shared_key_itself(section):
    """A member's own value wins over the run's, and leaves other members alone."""
    paths = [path[2:] for path in KEYS if path[:3] == ("members", "1", section)]
    assert {path[1:] for path in paths} == {path[1:] for path in KEYS if path[0] == section}
    for path in paths:
        before, after = changed(("members", "1", *path))
        assert after.members[1] != before.members[1]
        assert after.members[0] == before.members[0]
