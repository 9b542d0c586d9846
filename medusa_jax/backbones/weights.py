"""Published weights into Flax modules: a declarative map from PyTorch's keys, all errors together.

A rule is a pattern of PyTorch's keys, the path of a parameter, and how its axes lie. In a pattern
`#` stands for a number: that of a layer, whose parameters are stacked, or of a module in a list.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from medusa_jax.errors import FeatureError
from medusa_jax.hub.model_folder import weights_of

Turn = Callable[[np.ndarray], np.ndarray]
_SHOWN = 8  # problems named; the others are counted


def as_is(x: np.ndarray) -> np.ndarray:
    """Axes as PyTorch has them."""
    return x


def turned(x: np.ndarray) -> np.ndarray:
    """`[out, in]` or `[out, in, tap]` of PyTorch as `[in, out]` or `[tap, in, out]`."""
    return x.transpose()


def flat(x: np.ndarray) -> np.ndarray:
    """Without axes of one element."""
    return x.reshape(-1)


@dataclass(frozen=True)
class Rule:
    """Where the parameter of a key goes; `stacked`: `#` is its row in the stack of layers. A key
    without a number goes to `row`.
    """

    key: str
    path: tuple[str | int, ...]
    turn: Turn = as_is
    stacked: bool = False
    row: int | None = None


def rules_of(
    module: str, path: tuple[str | int, ...], turn: Turn, stacked: bool = False
) -> list[Rule]:
    """The rules of a linear map, a convolution (`turned`) or a norm (`as_is`): weight and bias."""
    kind = "scale" if turn is as_is else "kernel"
    return [
        Rule(f"{module}.weight", (*path, kind), turn, stacked),
        Rule(f"{module}.bias", (*path, "bias"), as_is, stacked),
    ]


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a model's folder by key, as float32.

    Raises `FeatureError` if there are none, or they are damaged.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, np.ndarray] = {}
    for file in (folder / name for name in weights_of(folder)):
        try:
            with safe_open(file, framework="flax") as tensors:
                for key in list(tensors.keys()):
                    found[key] = np.asarray(tensors.get_tensor(key), np.float32)
        except (SafetensorError, OSError) as error:
            what, hint = f"the weights are damaged: {error}", "fetch the model again"
            raise FeatureError(what, where=file, hint=hint) from error
    return found


def fill(
    module: nnx.Module,
    rules: Iterable[Rule],
    tensors: Mapping[str, np.ndarray],
    where: Path,
    *,
    unused: str = "$^",
) -> None:
    """Give every parameter of `module`, low-rank parts aside, the tensor that its rule names.

    Keys that match `unused`, a regular expression, belong to heads that are not wanted. Raises
    `FeatureError` with all that is missing, left over or of another shape.
    """
    params = nnx.state(module, nnx.All(nnx.Param, nnx.Not(nnx.LoRAParam)))
    wanted = dict(nnx.to_flat_state(params))
    parts, problems = _collected(rules, tensors, unused)
    for path, leaf in wanted.items():
        value = parts.pop(path, None)
        if value is None:
            problems.append(f"nothing for {'.'.join(map(str, path))}")
            continue
        shapes = {part.shape for part in value.values()} if isinstance(value, dict) else set()
        if len(shapes) > 1:
            problems.append(f"{'.'.join(map(str, path))} is of several shapes: {sorted(shapes)}")
            continue
        array = np.stack([value[n] for n in sorted(value)]) if shapes else value
        if array.shape != leaf.shape:
            name = ".".join(map(str, path))
            problems.append(f"{name} is {array.shape}, not {tuple(leaf.shape)}")
        else:
            leaf[...] = jnp.asarray(array)
    problems += [f"{'.'.join(map(str, path))} is no parameter" for path in parts]
    if problems:
        rest = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise FeatureError(
            f"the weights do not fit the model: {'; '.join(problems[:_SHOWN])}{rest}",
            where=where,
            hint="fetch the model again; config.json and weights must be of one model",
        )
    nnx.update(module, params)


def _collected(
    rules: Iterable[Rule], tensors: Mapping[str, np.ndarray], unused: str
) -> tuple[dict[tuple[Any, ...], Any], list[str]]:
    """Each path's array, or its layers' arrays by number; and the keys that no rule matches."""
    patterns = [(re.compile(re.escape(rule.key).replace(r"\#", r"(\d+)")), rule) for rule in rules]
    parts: dict[tuple[Any, ...], Any] = {}
    problems = []
    for key, tensor in tensors.items():
        matches = [(found, rule) for one, rule in patterns if (found := one.fullmatch(key))]
        if not matches:
            if not re.fullmatch(unused, key):
                problems.append(f"{key} is not known")
            continue
        (found, rule) = matches[0]
        if rule.stacked or rule.row is not None:
            row = int(found[1]) if rule.row is None else rule.row
            parts.setdefault(rule.path, {})[row] = rule.turn(tensor)
            continue
        numbers = iter(map(int, found.groups()))
        path = tuple(next(numbers) if part == "#" else part for part in rule.path)
        parts[path] = rule.turn(tensor)
    return parts, problems
