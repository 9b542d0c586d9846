"""An independent DeepSER in PyTorch, written from the description alone, against which the JAX one
is checked.

Nothing here is shared with `medusa_jax.models`: the transformer layers are PyTorch's own, so a
misreading has to be made twice to pass. Axes: `b` utterance, `t` frame, `d` feature, `h` hidden,
`c` class, `a` attribute, `k` modality. Where neither the paper nor its published code says
anything, the choice is named with the line that makes it.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """ENC: two linear maps, `layers` post-norm transformer layers, the mean over valid frames. No
    positional encoding.
    """

    def __init__(
        self, width: int, hidden: int, feedforward: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(hidden, hidden)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden,
                1,
                feedforward,
                dropout,
                activation="relu",
                batch_first=True,
                norm_first=False,
            )
            for _ in range(layers)
        )

    def forward(self, x_btd: Tensor, valid_bt: Tensor) -> tuple[list[Tensor], Tensor]:
        """The output `[b, t, h]` of every layer, and `[b, h]`, the last one's mean over the frames
        where `valid_bt` is true.
        """
        h_bth = self.w2(torch.relu(self.w1(x_btd)))
        outputs = []
        for layer in self.layers:
            h_bth = layer(h_bth, src_key_padding_mask=~valid_bt)
            outputs.append(h_bth)
        weights_bt1 = valid_bt.unsqueeze(-1).to(h_bth.dtype)
        return outputs, (h_bth * weights_bt1).sum(1) / weights_bt1.sum(1)


class TorchDeepSER(nn.Module):
    """DeepSER (`fusion="deep"`) or its late-fusion ablation (`"late"`), without Manifold MixUp.

    `encoders[k]` and `fusions[i]` have `.w1`, `.w2` and `.layers[i]` (PyTorch's own names below
    that: `self_attn.in_proj_weight`, `self_attn.out_proj`, `linear1`, `linear2`, `norm1`, `norm2`);
    `project` is W, `classify` W_c, `regress` W_r. All have biases. There is one fusion encoder a
    layer of the modalities' encoders; each has as many layers as those, and hands its last one to
    the next: for two layers, the published size, that is the second one.
    """

    def __init__(
        self,
        widths: list[int],
        hidden: int,
        feedforward: int = 2048,
        layers: int = 2,
        classes: int = 8,
        dropout: float = 0.1,
        fusion: Literal["deep", "late"] = "deep",
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            Encoder(width, hidden, feedforward, layers, dropout) for width in widths
        )
        fusions = layers if fusion == "deep" else 0
        self.fusions = nn.ModuleList(
            Encoder(hidden, hidden, feedforward, layers, dropout) for _ in range(fusions)
        )
        self.project = nn.Linear(hidden * (len(widths) + bool(fusions)), hidden)
        self.classify = nn.Linear(hidden, classes)
        self.regress = nn.Linear(hidden, 3)

    def embed(self, inputs: list[Tensor], lengths: list[Tensor]) -> Tensor:
        """`x [b, h]`, before the ReLU: where MixUp would act. `inputs[k]` is `[b, t_k, d_k]`,
        `lengths[k]` `[b]`, each ≥ 1.
        """
        valid_kbt = [
            torch.arange(x.shape[1])[None, :] < n[:, None]
            for x, n in zip(inputs, lengths, strict=True)
        ]
        encoded = [
            encoder(x, valid)
            for encoder, x, valid in zip(self.encoders, inputs, valid_kbt, strict=True)
        ]
        pooled = [h_bh for _, h_bh in encoded]
        carried_bth: list[Tensor] = []
        carried_bt: list[Tensor] = []
        for level, fusion in enumerate(self.fusions):
            frames_bth = torch.cat([outputs[level] for outputs, _ in encoded] + carried_bth, dim=1)
            # The fusion encoder's own frames are valid exactly where the frames it read were.
            valid_bt = torch.cat(valid_kbt + carried_bt, dim=1)
            outputs, fused_bh = fusion(frames_bth, valid_bt)
            carried_bth, carried_bt = [outputs[-1]], [valid_bt]
        return self.project(torch.cat([*pooled, fused_bh] if self.fusions else pooled, dim=-1))

    def heads(self, x_bh: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[b, c]` and attributes `[b, 3]` between 1 and 7, both read through a ReLU."""
        x_bh = torch.relu(x_bh)
        return self.classify(x_bh), 1 + 6 * torch.sigmoid(self.regress(x_bh))

    def forward(self, inputs: list[Tensor], lengths: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits `[b, c]` and attributes `[b, 3]`."""
        return self.heads(self.embed(inputs, lengths))


def cross_entropy(
    logits_bc: Tensor, soft_bc: Tensor, weights_c: Tensor, has_class_b: Tensor
) -> Tensor:
    """Weighted cross-entropy with soft targets, −Σ_c α_c y_c log p_c, averaged over the utterances
    that have a class target.

    The paper does not give the reduction; the mean here is plain, not divided by the weights, so
    that a rare class counts for more than a frequent one also when it fills the batch. Zero if no
    utterance has a target.
    """
    each_bc = weights_c * torch.nan_to_num(soft_bc) * torch.log_softmax(logits_bc, dim=-1)
    count = has_class_b.sum().clamp(min=1)
    return -(each_bc.sum(-1) * has_class_b).sum() / count


def squared_error(attributes_ba: Tensor, rated_ba: Tensor, has_attributes_b: Tensor) -> Tensor:
    """Mean squared error over the utterances that have ratings, times three attributes. Zero if
    none has.
    """
    squares_ba = (attributes_ba - torch.nan_to_num(rated_ba)) ** 2
    count = 3 * has_attributes_b.sum().clamp(min=1)
    return (squares_ba.sum(-1) * has_attributes_b).sum() / count


def loss(
    logits_bc: Tensor,
    attributes_ba: Tensor,
    soft_bc: Tensor,
    rated_ba: Tensor,
    class_weights_c: Tensor,
    has_class_b: Tensor,
    has_attributes_b: Tensor,
    l1: float = 1.5,
    l2: float = 0.4,
) -> Tensor:
    """l1 · cross-entropy + l2 · squared error; targets of utterances outside the masks may be NaN
    and are never read.
    """
    return l1 * cross_entropy(
        logits_bc, soft_bc, class_weights_c, has_class_b
    ) + l2 * squared_error(attributes_ba, rated_ba, has_attributes_b)


def class_weights(soft_nc: Tensor) -> Tensor:
    """α_c = sqrt(N / (|C| · f_c)) from the training set's soft labels, f_c their sum; rows of NaN
    have no target and do not count.
    """
    soft_nc = soft_nc[~soft_nc.isnan().any(-1)]
    return torch.sqrt(soft_nc.shape[0] / (soft_nc.shape[1] * soft_nc.sum(0)))
