"""SUMMER against an independent one in PyTorch with the same weights, and its promises: padding,
missing streams and utterances out of sight change nothing.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_dialogues import CLASSES, WIDTHS, dialogues, member

from medusa_jax.config.conversation import ConversationConfig
from medusa_jax.errors import ConfigError
from medusa_jax.models.summer import Summer, Turns
from medusa_jax.training.checkpoint import as_dicts

LENGTHS = [6, 1, 4]
SETTINGS = [
    (3, {"alpha": 1.0}),
    (1, {}),
    (2, {"alpha": 0.4, "gate": "softmax", "correction": 1.0}),
    (3, {"corrected": "weights", "correction_beyond": 0.02, "teacher": ("speech", "text")}),
    (2, {"routing": "top_k", "context": "past", "correction_beyond": 0.0}),
    (3, {"routing": "all", "fusion": "plain", "speakers": "none"}),
    (2, {"routing": "none", "correction": 0.0, "positions": "none"}),
    (2, {"context": "none", "global_experts": False}),
]
QUICK = 1  # of the settings


def settings_marked():
    return [
        pytest.param(*one, id=str(i), marks=[pytest.mark.slow] if i >= QUICK else [])
        for i, one in enumerate(SETTINGS)
    ]


@partial(jax.jit, static_argnums=0)
def learnt(graph, state, turns):
    return nnx.merge(graph, state).learn(turns)


def outcome(model, turns):
    """Logits, attributes and features of the student, and the same of the teacher, as NumPy."""
    student, teacher, _ = learnt(*nnx.split(model), turns)
    parts = (*student[:3], *teacher[:3])
    return [np.asarray(part) for part in parts]


class Reference:
    """The PyTorch teacher and student with a model's weights, and dialogues cut to their turns."""

    def __init__(self, model):
        torch_summer = pytest.importorskip("torch_summer", reason="needs the extra `torch`")
        own = model.config
        names = {field.name for field in dataclasses.fields(torch_summer.Settings)}
        keys = {key: value for key, value in own.model_dump().items() if key in names}
        keys |= {"phi": own.correction, "beyond": own.correction_beyond}
        keys |= {"speakers": own.speakers != "none", "positions": own.positions != "none"}
        self.settings = torch_summer.Settings(**keys)
        self.corrects = own.correction > 0 and own.fusion == "hierarchical"
        self.module, self.reads = torch_summer, model.teacher.reads
        sizes = list(WIDTHS.values())[: len(model.means)]
        self.teacher = self.network([sizes[k] for k in self.reads], model.teacher)
        self.student = self.network(sizes, model.student)

    def network(self, sizes, own):
        from torch_summer_weights import torch_weights

        found = self.module.TorchNetwork(self.settings, sizes, CLASSES)
        weights = torch_weights(as_dicts(nnx.state(own, nnx.Param)), self.settings)
        missing = found.load_state_dict(weights, strict=False)
        assert not missing.unexpected_keys
        unused = "weight_hh" if self.settings.context == "none" else "gate"
        needless = self.settings.context == "none" or self.settings.routing == "none"
        assert all(needless and unused in key for key in missing.missing_keys)
        return found

    def __call__(self, turns):
        """By dialogue: the outcomes of student and teacher, and the crossed logits."""
        import torch

        for b, n in enumerate(np.asarray(turns.mask_bu).sum(1)):
            streams = [torch.tensor(np.asarray(x_bud[b, :n])) for x_bud in turns.streams]
            present = torch.tensor(np.asarray(turns.present_buk[b, :n]))
            speakers = torch.tensor(np.asarray(turns.speaker_bu[b, :n]), dtype=torch.long)
            own = [streams[k] for k in self.reads], present[:, list(self.reads)], speakers
            with torch.no_grad():
                taught = self.teacher(*own)
            correcting = taught[-1] if self.corrects else None
            student = self.student(streams, present, speakers, correcting)
            yield student, taught, self.frozen_classifier(student[2])

    def frozen_classifier(self, features):
        layer = self.teacher.classify
        return features @ layer.weight.detach().T + layer.bias.detach()


def labels_of(turns):
    return np.random.default_rng(5).integers(0, CLASSES, turns.mask_bu.shape)


@pytest.mark.parametrize(("streams", "keys"), settings_marked())
def test_logits_shares_and_gradients_of_the_reference(streams, keys):
    import torch

    model, turns = member(streams, **keys), dialogues(LENGTHS, streams, seed=streams)
    reference, labels_bu = Reference(model), jnp.asarray(labels_of(turns))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    own = jax.nn.one_hot(labels_bu, CLASSES) * turns.mask_bu[..., None]

    def loss(params):
        student, teacher, crossed_buc = nnx.merge(graph, params, rest).learn(turns)
        inner = jnp.where(
            turns.mask_bu[..., None], crossed_buc * student.attributes_bua[..., :1], 0
        )
        total = -(jax.nn.log_softmax(student.logits_buc) * own).sum() + inner.sum()
        return total, (student, teacher, crossed_buc)

    (value, found), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    total, offs = 0, ([], [])
    for b, (student, taught, crossed) in enumerate(reference(turns)):
        n = LENGTHS[b]
        for outcome, wanted in zip(found[:2], (student, taught), strict=True):
            for part, other in zip(outcome[:3], wanted[:3], strict=True):
                np.testing.assert_allclose(part[b, :n], other.detach(), atol=1e-5)
        np.testing.assert_allclose(found[2][b, :n], crossed.detach(), atol=1e-5)
        labels = torch.tensor(labels_of(turns)[b, :n])
        total = total + torch.nn.functional.cross_entropy(student[0], labels, reduction="sum")
        total = total + (crossed * student[1][:, :1]).sum()
        for kept, wanted in zip(offs, (student, taught), strict=True):
            # one mean over turns and gates: every turn has as many
            kept.append((n, reference.module.off(wanted[3])))
    for outcome, kept in zip(found[:2], offs, strict=True):
        shares = np.average([share for _, share in kept], weights=[n for n, _ in kept])
        np.testing.assert_allclose(outcome.off, shares, atol=1e-6)
        assert shares > 0.1 or "alpha" not in keys, "experts must be switched off to be compared"
    np.testing.assert_allclose(value, total.item(), rtol=1e-5)
    total.backward()
    _agree(gradients["student"], reference)
    for leaf in jax.tree.leaves(gradients["teacher"]):
        assert not np.any(leaf), "the teacher is frozen"


def _agree(gradients, reference):
    from torch_summer_weights import torch_weights

    found = torch_weights(as_dicts(gradients), reference.settings)
    for name, parameter in reference.student.named_parameters():
        if name not in found:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        own, wanted = found[name].numpy(), parameter.grad
        wanted = np.zeros_like(own) if wanted is None else wanted.numpy()
        if "bias_hh" in name:  # the other gates have one bias here
            h = len(own) // 3
            wanted, own = wanted[2 * h :], own[2 * h :]
        np.testing.assert_allclose(own, wanted, atol=1e-5, rtol=1e-5, err_msg=name)


def test_gradients_of_the_teacher():
    """In its own phase it is trained, on its streams alone."""
    import torch

    model, turns = member(2, alpha=1.0), dialogues(LENGTHS, 2)
    reference = Reference(model)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params):
        found = nnx.merge(graph, params, rest).teach(turns)
        return jnp.where(turns.mask_bu[..., None], found.logits_buc**2, 0).sum()

    gradients = jax.jit(jax.grad(loss))(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients["student"]))
    reference.student, total = reference.teacher, 0
    for b, n in enumerate(LENGTHS):
        streams = [torch.tensor(np.asarray(turns.streams[0][b, :n]))]
        present = torch.tensor(np.asarray(turns.present_buk[b, :n, :1]))
        speakers = torch.tensor(np.asarray(turns.speaker_bu[b, :n]), dtype=torch.long)
        total = total + (reference.teacher(streams, present, speakers)[0] ** 2).sum()
    total.backward()
    _agree(gradients["teacher"], reference)


@pytest.mark.parametrize("keys", [{"alpha": 1.0}, {"context": "past", "fusion": "plain"}])
def test_padding_changes_nothing(keys):
    lengths = [4, 1]
    model, turns = member(2, **keys), dialogues(lengths, 2)
    together = outcome(model, turns)
    rng = np.random.default_rng(3)

    def longer(x, garbage):
        spare = rng.normal(size=(len(x), 3, *x.shape[2:])) * garbage
        return jnp.concatenate([x, jnp.asarray(spare).astype(x.dtype)], axis=1)

    padded = turns._replace(
        streams=tuple(longer(x_bud, np.nan) for x_bud in turns.streams),
        present_buk=longer(turns.present_buk, 1),
        speaker_bu=longer(turns.speaker_bu, 9),
        mask_bu=longer(turns.mask_bu, 0),
        first_bu=longer(turns.first_bu, 0),
    )
    far = outcome(model, padded)
    for b, n in enumerate(lengths):
        alone = outcome(model, _cut(turns, b, n))
        for part, own, other in zip(together, alone, far, strict=True):
            np.testing.assert_allclose(own[0], part[b, :n], atol=1e-5)
            np.testing.assert_allclose(other[b, :n], part[b, :n], atol=1e-5)


def _cut(turns, b, n):
    """One dialogue without padding."""
    return jax.tree.map(lambda x: x[b : b + 1, :n], turns)


@pytest.mark.parametrize("keys", [{"alpha": 1.0}, {"context": "past"}, {"context": "none"}])
def test_dialogues_behind_one_another_in_a_row(keys):
    """The same numbers, and the same gradients of a loss over all turns."""
    lengths = [4, 1, 3]
    model, turns = member(2, **keys), dialogues(lengths, 2)
    rows = [(0, 0), (0, 1), (1, 0)]  # the first two dialogues share a row of six places
    packed = Turns(*jax.tree.map(lambda x: jnp.zeros((2, 6, *x.shape[2:]), x.dtype), turns))
    places = []
    for (row, after), n in zip(rows, lengths, strict=True):
        start = lengths[0] * after
        places.append((row, slice(start, start + n)))
    for b, (place, n) in enumerate(zip(places, lengths, strict=True)):
        packed = jax.tree.map(lambda x, y, b=b, n=n, p=place: x.at[p].set(y[b, :n]), packed, turns)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def loss(params, turns):
        student, teacher, crossed_buc = nnx.merge(graph, params, rest).learn(turns)
        seen = crossed_buc.sum(axis=-1) * jnp.tanh(student.logits_buc).sum(axis=-1)
        return jnp.where(turns.mask_bu, seen, 0).sum(), (*student, *teacher)

    (value, found), gradients = jax.value_and_grad(loss, has_aux=True)(params, packed)
    (wanted_value, wanted), others = jax.value_and_grad(loss, has_aux=True)(params, turns)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), gradients, others)
    for own, part in zip(found, wanted, strict=True):
        if own.ndim == 0:
            np.testing.assert_allclose(own, part, atol=1e-6)
            continue
        for b, (place, n) in enumerate(zip(places, lengths, strict=True)):
            np.testing.assert_allclose(own[place], part[b, :n], atol=1e-5)


def test_features_of_a_missing_stream_change_nothing():
    model, turns = member(), dialogues(LENGTHS, missing=0.5)
    filled = [
        jnp.where(turns.present_buk[..., k, None], x_bud, np.nan)
        for k, x_bud in enumerate(turns.streams)
    ]
    other = outcome(model, turns._replace(streams=tuple(filled)))
    for own, part in zip(outcome(model, turns), other, strict=True):
        np.testing.assert_array_equal(own, part)
    present = turns._replace(present_buk=jnp.ones_like(turns.present_buk))
    assert np.abs(outcome(model, present)[0] - other[0]).max() > 1e-3, "the control must differ"


def test_a_stream_that_is_missing_everywhere():
    """No utterance finds a key: the first stream passes the block on its residual."""
    turns = dialogues(LENGTHS)
    present_buk = turns.present_buk.at[..., 1:].set(False)
    found = outcome(member(), turns._replace(present_buk=present_buk))
    assert all(np.isfinite(part).all() for part in found)


def changed_after(turns, place):
    """The same dialogues with other features and speakers from `place` on."""
    later_u1 = (jnp.arange(turns.mask_bu.shape[1]) >= place)[:, None]
    return turns._replace(
        streams=tuple(jnp.where(later_u1, 1 - x_bud, x_bud) for x_bud in turns.streams),
        speaker_bu=jnp.where(later_u1[:, 0], 3 - turns.speaker_bu, turns.speaker_bu),
    )


@pytest.mark.parametrize("fusion", ["hierarchical", "plain"])
def test_context_past_does_not_see_what_follows(fusion):
    turns = dialogues([6, 5], 2)
    later = changed_after(turns, 3)
    past, both = (member(2, context=context, fusion=fusion) for context in ("past", "both"))
    for own, other in zip(outcome(past, turns), outcome(past, later), strict=True):
        np.testing.assert_allclose(own[:, :3], other[:, :3], atol=1e-6)
        assert np.abs(own[:, 3:5] - other[:, 3:5]).max() > 1e-3
    seen = np.abs(outcome(both, turns)[0] - outcome(both, later)[0])
    assert seen[:, :3].max() > 1e-3, "the control must differ"


def test_context_none_sees_no_other_utterance():
    turns, model = dialogues([6, 5], 2), member(2, context="none", positions="none")
    order = np.array([3, 0, 4, 1, 2])
    shuffled = jax.tree.map(lambda x: x.at[:, :5].set(x[:, order]), turns)
    for own, other in zip(outcome(model, turns), outcome(model, shuffled), strict=True):
        np.testing.assert_allclose(own[:, order], other[:, :5], atol=1e-6)
    both = member(2, positions="none")
    differ = outcome(both, turns)[0][:, order] - outcome(both, shuffled)[0][:, :5]
    assert np.abs(differ).max() > 1e-3, "the control must differ"


def test_attention_follows_the_teacher_only_if_asked():
    turns = dialogues(LENGTHS, 2)

    def effect(**keys):
        model = member(2, **{"correction_beyond": 0.05, **keys})
        before = outcome(model, turns)[0]
        model.teacher.fuse.blocks[0].query.kernel[...] *= -3
        return np.abs(outcome(model, turns)[0] - before).max()

    assert effect() > 1e-3
    assert effect(correction=0.0) == 0
    assert effect(correction_beyond=1e6) == 0
    assert effect(fusion="plain") == 0


def test_noise_is_of_the_key_and_the_teacher_has_none_in_learning():
    model, turns = member(2, experts=4), dialogues(LENGTHS, 2)
    learn = jax.jit(lambda key: model.learn(turns, key))
    first, again, other = (learn(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0].logits_buc, again[0].logits_buc)
    np.testing.assert_array_equal(first[1].logits_buc, other[1].logits_buc)
    assert np.abs(first[0].logits_buc - other[0].logits_buc).max() > 1e-3
    taught = [model.teach(turns, key).logits_buc for key in (jax.random.key(0), None)]
    assert np.abs(taught[0] - taught[1]).max() > 1e-3
    np.testing.assert_allclose(taught[1], first[1].logits_buc, atol=1e-6)


def test_features_are_standardised():
    model, turns = member(1), dialogues(LENGTHS, 1, missing=0.0)
    before = outcome(model, turns)[0]
    model.means[0][...], model.scales[0][...] = jnp.full(7, 2.0), jnp.full(7, 0.5)
    raw = turns._replace(
        streams=(jnp.where(turns.mask_bu[..., None], turns.streams[0] * 2 + 2, 0),)
    )
    np.testing.assert_allclose(outcome(model, raw)[0], before, atol=1e-5)


def test_attributes_start_at_mid_scale():
    own = ConversationConfig(width=16, heads=2)
    model = Summer(own, ["text"], WIDTHS, CLASSES, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(model(dialogues(LENGTHS, 1)).attributes_bua, 4.0)


def test_a_teacher_on_a_modality_that_the_member_lacks_is_refused():
    own = ConversationConfig(width=16, heads=2, teacher=("visual",))
    with pytest.raises(ConfigError, match="visual"):
        Summer(own, ["text", "speech"], WIDTHS, CLASSES, rngs=nnx.Rngs(0))
