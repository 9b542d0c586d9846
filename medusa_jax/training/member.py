"""One DeepSER of the ensemble: built from its seed, or read back from its best checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.batches.examples import Batch, Examples
from medusa_jax.batches.moments import frame_statistics
from medusa_jax.config.training import MemberConfig
from medusa_jax.errors import CheckpointError
from medusa_jax.files import digest_of
from medusa_jax.machines.mesh import Devices, devices_of
from medusa_jax.machines.processes import of_the_first
from medusa_jax.models.deepser import DeepSER, Statistic
from medusa_jax.training import checkpoint
from medusa_jax.training.prediction import predicted
from medusa_jax.training.step import predict_step

PyTree = Any
Moments = Mapping[str, tuple[np.ndarray, np.ndarray]]
_INITIAL, _STEPS = 0, 1


@dataclass(frozen=True)
class Member:
    """A DeepSER ready to predict: structure, weights, and the statistics of its training frames."""

    modalities: tuple[str, ...]
    graph: nnx.GraphDef
    params: PyTree
    statistics: PyTree

    def predict(self, examples: Examples, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[n, c]` and attributes `[n, 3]`, float32, in the order of `positions`."""
        return predict_all([self], examples, positions, devices_of(1))[0]


def predict_all(
    members: Sequence[Member], examples: Examples, positions: np.ndarray, devices: Devices
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What each member predicts, as `Member.predict`; the features are read once for all of them."""
    weights = [devices.replicated((member.params, member.statistics)) for member in members]

    def run(batch: Batch) -> list[Any]:
        steps = [predict_step(member.graph, False, devices.everywhere) for member in members]
        return [
            step(*own, batch.of(m.modalities))
            for step, own, m in zip(steps, weights, members, strict=True)
        ]

    return predicted(run, examples, positions, devices)


def member_keys(seed: int, config: MemberConfig) -> tuple[jax.Array, jax.Array]:
    """The keys of the initial weights and of the steps of this member in the run of this seed."""
    key = jax.random.key(int(np.random.SeedSequence((seed, config.seed)).generate_state(1)[0]))
    return jax.random.fold_in(key, _INITIAL), jax.random.fold_in(key, _STEPS)


def moments_of(configs: Sequence[MemberConfig], examples: Examples, fit: np.ndarray) -> Moments:
    """Mean and deviation over `fit` of each modality that a member standardises, measured once for all members."""
    wanted = {name for config in configs if config.model.standardise for name in config.modalities}
    return {
        name: frame_statistics(examples, name, fit)
        for name in examples.modalities
        if name in wanted
    }


def build(config: MemberConfig, examples: Examples, moments: Moments, seed: int) -> Member:
    """An untrained member for these examples in the run of this seed; `moments` as of `moments_of`, for what it standardises."""
    model = _model(config, examples, member_keys(seed, config)[0])
    if config.model.standardise:
        for name, frames in zip(config.modalities, model.frames, strict=True):
            if name in moments:
                mean, deviation = moments[name]
                frames.mean[...] = jnp.asarray(mean)
                frames.scale[...] = jnp.asarray(
                    np.where(deviation > 1e-5, 1 / np.maximum(deviation, 1e-5), 1.0), jnp.float32
                )
    return Member(config.modalities, *nnx.split(model, nnx.Param, Statistic))


def outline(config: MemberConfig, examples: Examples) -> Member:
    """A member's structure and the shapes of its arrays, without making any."""
    model = nnx.eval_shape(lambda: _model(config, examples, jax.random.key(0)))
    return Member(config.modalities, *nnx.split(model, nnx.Param, Statistic))


def _model(config: MemberConfig, examples: Examples, key: jax.Array) -> DeepSER:
    widths = {name: examples.widths[name] for name in config.modalities}
    return DeepSER(config.model, widths, len(examples.corpus.targets), rngs=nnx.Rngs(key))


def digests_of_training(
    configs: Sequence[MemberConfig],
    examples: Examples,
    fit: np.ndarray,
    held_out: np.ndarray,
    seed: int,
) -> dict[str, str]:
    """By id what determines each member's weights, which its name does not: its checkpoints carry it, and another one is refused."""
    data = [
        examples.corpus.digest(),
        [store.digest for store in examples.stores],
        fit.tolist(),
        held_out.tolist(),
    ]
    return {
        config.id: digest_of([config.model_dump(mode="json", exclude={"id"}), seed, data])
        for config in configs
    }


def load_member(
    config: MemberConfig, examples: Examples, folder: Path, digest: str | None = None
) -> Member:
    """The selected weights of a member that was trained into `folder`.

    Raises `CheckpointError` if there are none, or if they were not trained under `digest`.
    """
    blank = outline(config, examples)

    def read() -> tuple[PyTree, PyTree]:
        found = checkpoint.restore(folder / "checkpoints", "best", digest)
        if found is None:
            raise CheckpointError(
                "there is no trained member here", where=folder, hint="train it with `medusa train`"
            )
        return checkpoint.fill(blank.params, found[0]["params"]), checkpoint.fill(
            blank.statistics, found[0]["statistics"]
        )

    params, statistics = of_the_first(read, (blank.params, blank.statistics))
    return replace(blank, params=params, statistics=statistics)
