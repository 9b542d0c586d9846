"""WavLM's attention with its gated relative position bias on PyTorch's fused kernel.

transformers has only an eager version. The numbers are equal within rounding; the averaged
attention weights are not computed.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class GatedAttention(nn.Module):
    """Replaces one `WavLMAttention`: same weights, same signature."""

    def __init__(self, eager: Any) -> None:
        super().__init__()
        self.eager = eager

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None, torch.Tensor]:
        """Return attended frames `[b, t, d]`, None for the weights, and the position bias.

        The first layer computes the bias `[1, head, t, t]` for all layers.
        """
        part, x_btd = self.eager, hidden_states
        if position_bias is None:
            position_bias = part.compute_bias(x_btd.shape[1], x_btd.shape[1])[None]
        bias_bhtt = self._gate(x_btd) * position_bias
        if attention_mask is not None:
            bias_bhtt.masked_fill_(~attention_mask[:, None, None, :].bool(), -torch.inf)
        q, k, v = (
            self._heads(project(x_btd)) for project in (part.q_proj, part.k_proj, part.v_proj)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_bhtt)
        return part.out_proj(attended.transpose(1, 2).reshape(x_btd.shape)), None, position_bias

    def _heads(self, x_btd: torch.Tensor) -> torch.Tensor:
        """Split the features into heads `[b, head, t, d / heads]`."""
        return x_btd.unflatten(-1, (self.eager.num_heads, -1)).transpose(1, 2)

    def _gate(self, x_btd: torch.Tensor) -> torch.Tensor:
        """Return the share of the position bias in each query, `[b, head, t, 1]`."""
        projected = self.eager.gru_rel_pos_linear(self._heads(x_btd)).unflatten(-1, (2, 4)).sum(-1)
        reset, update = torch.sigmoid(projected).chunk(2, dim=-1)
        return reset * (update * self.eager.gru_rel_pos_const - 1.0) + 2.0


def use_fused_attention(model: Any) -> None:
    """Replace every layer's attention of a `WavLMModel`."""
    for layer in model.encoder.layers:
        layer.attention = GatedAttention(layer.attention)
