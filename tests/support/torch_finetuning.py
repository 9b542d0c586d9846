"""An independent fine-tuning of WavLM in PyTorch, written from the description alone.

The encoder is transformers' own class; pooling, conditioning, heads and losses are written here.
Nothing is shared with `medusa_jax`. Axes: `b` utterance, `n` sample, `t` frame, `l` layer, `h`
hidden, `w` pooled, `c` class, `a` attribute, `g` gender.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor, nn

FRAME, HOP = 400, 320


class Attentive(nn.Module):
    """Attentive statistics: softmax over time of v·tanh(W x + b), weighted mean and deviation."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def forward(self, x_bth: Tensor, valid_bt: Tensor) -> Tensor:
        score_bt = self.outer(torch.tanh(self.inner(x_bth))).squeeze(-1)
        weight_bt = torch.softmax(score_bt.masked_fill(~valid_bt, float("-inf")), dim=1)
        mean_bh = torch.einsum("bt,bth->bh", weight_bt, x_bth)
        second_bh = torch.einsum("bt,bth->bh", weight_bt, (x_bth - mean_bh[:, None]) ** 2)
        return torch.cat([mean_bh, second_bh.clamp(min=1e-5).sqrt()], dim=1)


class TorchFinetuned(nn.Module):
    """WavLM with learned layer weights, attention pooling, (pooled + gender) / 2, and three heads.

    The convolutions are frozen; every dropout is off.
    """

    def __init__(self, folder: Path, width: int, classes: int) -> None:
        super().__init__()
        self.wavlm = transformers.WavLMModel.from_pretrained(folder).eval()
        self.wavlm.feature_extractor.requires_grad_(False)
        hidden, layers = self.wavlm.config.hidden_size, self.wavlm.config.num_hidden_layers
        self.layer_weights = nn.Parameter(torch.zeros(layers + 1))
        self.pooling = Attentive(hidden)
        self.gender = nn.Embedding(3, 2 * hidden)
        self.project, self.norm = nn.Linear(2 * hidden, width), nn.LayerNorm(width)
        self.classify = nn.Linear(width, classes)
        self.regress, self.tell = nn.Linear(width, 3), nn.Linear(width, 2)

    def forward(
        self, wave_bn: Tensor, samples_b: Tensor, gender_b: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits, attributes between 1 and 7, and logits of gender."""
        given_bn = torch.arange(wave_bn.shape[1]) < samples_b[:, None]
        rows = []
        for wave_n, samples in zip(wave_bn, samples_b.tolist(), strict=True):
            own = wave_n[:samples]
            unit = (own - own.mean()) / torch.sqrt(own.var(unbiased=False) + 1e-7)
            rows.append(nn.functional.pad(unit, (0, wave_bn.shape[1] - samples)))
        settings = {"attention_mask": given_bn.long(), "output_hidden_states": True}
        made = self.wavlm(torch.stack(rows), **settings)
        states = torch.stack([*made.hidden_states[:-1], made.last_hidden_state])
        share_l = torch.softmax(self.layer_weights, dim=0)
        x_bth = torch.einsum("l,lbth->bth", share_l, states)
        frames_b = (samples_b - FRAME) // HOP + 1
        valid_bt = torch.arange(x_bth.shape[1]) < frames_b[:, None]
        pooled_bw = (self.pooling(x_bth, valid_bt) + self.gender(gender_b)) / 2
        h_bw = torch.relu(self.norm(self.project(pooled_bw)))
        return self.classify(h_bw), 1 + 6 * torch.sigmoid(self.regress(h_bw)), self.tell(h_bw)

    def loss(self, batch: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Soft cross-entropy, squared error of the rated attributes, cross-entropy of known
        genders; those of classes and gender are means over all utterances.
        """
        size = len(batch["gender"])
        logits_bc, attributes_ba, told_bg = self(batch["wave"], batch["samples"], batch["gender"])
        classes = -(batch["soft"] * torch.log_softmax(logits_bc, dim=1)).sum() / size
        errors_ba = batch["rated"] * (attributes_ba - batch["attributes"]) ** 2
        known_b = batch["gender"] < 2
        told = nn.functional.cross_entropy(
            told_bg[known_b], batch["gender"][known_b], reduction="sum"
        )
        return (
            weights["class"] * classes
            + weights["attribute"] * errors_ba.sum() / batch["rated"].sum()
            + weights["gender"] * told / size
        )


def rates_by_layer(
    model: TorchFinetuned, rate: float, head: float, decay: float
) -> list[dict[str, object]]:
    """Groups of parameters: heads, then each layer, and what is below and behind the layers."""
    count = len(model.wavlm.encoder.layers)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        own = rate * head
        if name.startswith("wavlm."):
            # the table of relative positions lies in layer 0, but serves all of them
            place = name.removeprefix("wavlm.encoder.layers.")
            inside = place != name and "rel_attn_embed" not in name
            own = rate * decay ** (count - 1 - int(place.split(".")[0]) if inside else count)
        groups.setdefault(own, []).append(parameter)
    return [{"params": some, "lr": own} for own, some in groups.items()]


def train(
    model: TorchFinetuned,
    batches: list[Mapping[str, np.ndarray]],
    weights: Mapping[str, float],
    groups: list[dict[str, object]],
) -> list[float]:
    """One AdamW step on each batch, weight decay 0.01; the loss of each."""
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, eps=1e-8)
    losses = []
    for arrays in batches:
        optimiser.zero_grad()
        loss = model.loss({name: torch.tensor(a) for name, a in arrays.items()}, weights)
        loss.backward()
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # unused, but decays
        optimiser.step()
        losses.append(loss.item())
    return losses
