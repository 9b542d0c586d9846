"""Combine an encoder's hidden states during its forward pass, without keeping all of them."""

import threading
from collections.abc import Callable
from typing import Any

from medusa_jax.errors import FeatureError


class HiddenStates:
    """Hooks on the `count` layers of `model`.

    State k is the input of layer k, the last state is the encoder's result. Layers outside the
    combination have no hook. Several threads may run the model at once.
    """

    def __init__(self, model: Any, count: int, layers: str) -> None:
        self._layers, self._count, self._seen = layers, count, threading.local()
        self._first = {"last": count, "all": 0}.get(layers, count - 3)
        for place, layer in enumerate(_stack(model, count)):
            if place >= self._first:
                layer.register_forward_pre_hook(self._tap, with_kwargs=True)

    def combined(self, forward: Callable[[], Any]) -> Any:
        """Run `forward` → `[b, t, d]` and return the combined states `[b, t, width]`, float32."""
        self._seen.total, self._seen.states = None, 0
        self._add(forward())
        total, states = self._seen.total, self._seen.states
        self._seen.total = None
        wanted = self._count + 1 - self._first
        if states != wanted:
            raise FeatureError(f"the encoder gave {states} hidden states, not {wanted}")
        return total / 4 if self._layers == "mean_last_4" else total

    def _tap(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._add(args[0] if args else kwargs["hidden_states"])

    def _add(self, state_btd: Any) -> None:
        """Add a state to the sum, or write it beside the others; always in float32."""
        seen = self._seen
        if self._layers == "all":
            width = state_btd.shape[-1]
            if seen.total is None:
                shape = (*state_btd.shape[:2], (self._count + 1) * width)
                seen.total = state_btd.new_empty(shape).float()
            seen.total[..., seen.states * width : (seen.states + 1) * width] = state_btd
        else:
            seen.total = state_btd.float() if seen.total is None else seen.total + state_btd.float()
        seen.states += 1


def _stack(model: Any, count: int) -> Any:
    """Find the list of the encoder's layers."""
    from torch.nn import ModuleList

    found = []
    for name, part in model.named_modules():
        named = name.rpartition(".")[2] in ("layer", "layers")
        if named and isinstance(part, ModuleList) and len(part) == count:
            found.append(part)
    if len(found) != 1:
        raise FeatureError(f"the model has no single stack of {count} layers, as its config names")
    return found[0]
