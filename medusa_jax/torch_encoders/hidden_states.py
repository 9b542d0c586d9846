"""An encoder's hidden states, combined while they pass by: twenty-five of them are never in memory where four are summed."""

import threading
from collections.abc import Callable
from typing import Any

from medusa_jax.errors import FeatureError


class HiddenStates:
    """Taps on the `count` layers of `model`. State k is what enters layer k, the last state is the encoder's result.

    Layers that the sum does not need are not touched. Several threads may run the model at once.
    """

    def __init__(self, model: Any, count: int, layers: str) -> None:
        self._layers, self._count, self._seen = layers, count, threading.local()
        self._first = {"last": count, "all": 0}.get(layers, count - 3)
        for place, layer in enumerate(_stack(model, count)):
            if place >= self._first:
                layer.register_forward_pre_hook(self._tap, with_kwargs=True)

    def combined(self, forward: Callable[[], Any]) -> Any:
        """Run `forward`, which gives the encoder's result `[b, t, d]`, and return the combination `[b, t, width]`, float32."""
        self._seen.total, self._seen.states = None, 0
        self._add(forward())
        total, states = self._seen.total, self._seen.states
        self._seen.total = None
        if states != self._count + 1 - self._first:
            raise FeatureError(
                f"the encoder gave {states} hidden states where {self._count + 1 - self._first} are wanted"
            )
        return total / 4 if self._layers == "mean_last_4" else total

    def _tap(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._add(args[0] if args else kwargs["hidden_states"])

    def _add(self, state_btd: Any) -> None:
        seen = self._seen
        if self._layers == "all":
            width = state_btd.shape[-1]
            if seen.total is None:
                seen.total = state_btd.new_empty(
                    (*state_btd.shape[:2], (self._count + 1) * width)
                ).float()
            seen.total[..., seen.states * width : (seen.states + 1) * width] = state_btd
        else:  # in float32, whatever the model computes in
            seen.total = state_btd.float() if seen.total is None else seen.total + state_btd.float()
        seen.states += 1


def _stack(model: Any, count: int) -> Any:
    """The list of the encoder's layers."""
    from torch.nn import ModuleList

    lists = [
        part
        for name, part in model.named_modules()
        if isinstance(part, ModuleList) and name.rpartition(".")[2] in ("layer", "layers")
    ]
    found = [part for part in lists if len(part) == count]
    if len(found) != 1:
        raise FeatureError(
            f"the model has no single stack of the {count} layers that its config names"
        )
    return found[0]
