"""An independent SUMMER in PyTorch, written from its description, against which the JAX one is
checked.

Nothing here is shared with `medusa_jax.models`: experts are PyTorch's own GRUs, and a dialogue runs
alone, without padding, so that no mask of padding can be wrong. Axes: `u` utterance of the
dialogue, `d` feature, `w` width, `e` expert, `n` head, `c` class.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Settings:
    """The settings of the description, by its own symbols where it has some."""

    width: int
    heads: int
    experts: int = 8
    routing: str = "dynamic"  # dynamic, top_k, all, none
    alpha: float = 2.0
    top_k: int = 2
    gate: str = "logits"  # or softmax
    context: str = "both"  # past, none
    fusion: str = "hierarchical"  # plain
    corrected: str = "scores"  # weights
    phi: float = 0.5
    beyond: float = 0.5
    speaker_slots: int = 9
    speakers: bool = True
    positions: bool = True
    global_experts: bool = True


class SDMoE(nn.Module):
    """Sparse experts: a gate weighs GRUs for each utterance of one dialogue."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        w, both = settings.width, settings.context != "past"
        count = 1 if settings.routing == "none" else settings.experts
        self.gate = nn.Linear(w, count)
        self.experts = nn.ModuleList(
            nn.GRU(w, w // 2 if both else w, bidirectional=both) for _ in range(count)
        )

    def on(self, logits_ue: Tensor) -> Tensor:
        """The experts of each utterance that stay on."""
        own = self.settings
        rows = []
        for gate_e in torch.softmax(logits_ue, -1) if own.gate == "softmax" else logits_ue:
            if own.routing == "top_k":
                on_e = torch.zeros(len(gate_e), dtype=torch.bool)
                on_e[gate_e.topk(own.top_k).indices] = True
            elif own.routing == "dynamic":
                mu, sigma = gate_e.mean(), gate_e.std(correction=0)
                on_e = (gate_e >= mu - own.alpha * sigma) & (gate_e <= mu + own.alpha * sigma)
                if not on_e.any():
                    on_e[gate_e.argmax()] = True
            else:
                on_e = torch.ones(len(gate_e), dtype=torch.bool)
            rows.append(on_e)
        return torch.stack(rows)

    def forward(self, x_uw: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed outputs, and which experts are on."""
        if self.settings.context == "none":
            runs = [torch.cat([gru(x_w[None])[0] for x_w in x_uw]) for gru in self.experts]
        else:
            runs = [gru(x_uw)[0] for gru in self.experts]
        logits_ue = self.gate(x_uw)
        on_ue = self.on(logits_ue.detach())
        weights_ue = torch.softmax(logits_ue.masked_fill(~on_ue, -math.inf), -1)
        return torch.einsum("ue,euw->uw", weights_ue, torch.stack(runs)), on_ue


class DynAttn(nn.Module):
    """A stream queries another; a teacher's attention corrects its own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        w = settings.width
        self.settings = settings
        self.query, self.key, self.value = (nn.Linear(w, w) for _ in range(3))
        self.out, self.norm = nn.Linear(w, w), nn.LayerNorm(w)

    def forward(
        self,
        x_uw: Tensor,
        other_uw: Tensor,
        present_u: Tensor,
        teacher: tuple[Tensor, Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        own, u = self.settings, len(x_uw)
        seen = present_u[None].expand(u, u)
        if own.context == "past":
            seen = seen & torch.ones(u, u, dtype=torch.bool).tril()
        elif own.context == "none":
            seen = seen & torch.eye(u, dtype=torch.bool)
        parts = self.query(x_uw), self.key(other_uw), self.value(other_uw)
        q, k, v = (part.reshape(u, own.heads, -1).transpose(0, 1) for part in parts)
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        if teacher is not None and own.corrected == "scores":
            scores = self.moved(scores, teacher[0], seen & teacher[2])
        weights = torch.softmax(scores.masked_fill(~seen, -math.inf), -1).nan_to_num()
        if teacher is not None and own.corrected == "weights":
            weights = self.moved(weights, teacher[1], seen & teacher[2])
        found_uw = self.out((weights @ v).transpose(0, 1).reshape(u, -1))
        found_uw = found_uw * seen.any(-1, keepdim=True)
        return self.norm(x_uw + found_uw), (scores.detach(), weights.detach(), seen)

    def moved(self, own: Tensor, teacher: Tensor, where: Tensor) -> Tensor:
        far = where & ((own - teacher).abs() > self.settings.beyond)
        return torch.where(far, own + self.settings.phi * (teacher - own), own)


class TorchNetwork(nn.Module):
    """The teacher or the student, one dialogue at a time."""

    def __init__(self, settings: Settings, widths: list[int], classes: int) -> None:
        super().__init__()
        w, count = settings.width, len(widths)
        self.settings = settings
        self.projects = nn.ModuleList(nn.Linear(d, w) for d in widths)
        self.missing = nn.Parameter(torch.zeros(count, w))
        self.speakers = nn.Embedding(settings.speaker_slots, w) if settings.speakers else None
        self.experts = nn.ModuleList(SDMoE(settings) for _ in widths)
        blocks = max(1, count * (count - 1) if settings.fusion == "plain" else count - 1)
        self.blocks = nn.ModuleList(DynAttn(settings) for _ in range(blocks))
        self.whole = SDMoE(settings) if settings.global_experts else None
        self.classify, self.regress = nn.Linear(w, classes), nn.Linear(w, 3)

    def embed(self, streams: list[Tensor], present_uk: Tensor, speakers_u: Tensor) -> list[Tensor]:
        found = []
        for k, (x_ud, project) in enumerate(zip(streams, self.projects, strict=True)):
            rows = []
            for u, x_d in enumerate(x_ud):
                row_w = project(x_d) if present_uk[u, k] else self.missing[k]
                if self.speakers is not None:
                    row_w = row_w + self.speakers(speakers_u[u])
                if self.settings.positions:
                    row_w = row_w + position(u, self.settings.width)
                rows.append(row_w)
            found.append(torch.stack(rows))
        return found

    def forward(
        self,
        streams: list[Tensor],
        present_uk: Tensor,
        speakers_u: Tensor,
        teacher: list | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list]:
        """Logits, attributes, fused features, which experts of each gate are on, attention."""
        moe = [
            experts(x_uw)
            for experts, x_uw in zip(
                self.experts, self.embed(streams, present_uk, speakers_u), strict=True
            )
        ]
        ons = [on_ue for _, on_ue in moe]
        x, attention = [x_uw for x_uw, _ in moe], []

        def attended(block: DynAttn, asking: Tensor, k: int) -> Tensor:
            example = teacher[min(len(attention), len(teacher) - 1)] if teacher else None
            y_uw, record = block(asking, x[k], present_uk[:, k], example)
            attention.append(record)
            return y_uw

        if len(x) == 1:
            fused_uw = attended(self.blocks[0], x[0], 0)
        elif self.settings.fusion == "plain":
            blocks, total = iter(self.blocks), []
            for one in range(len(x)):
                others = [k for k in range(len(x)) if k != one]
                found = [attended(next(blocks), x[one], k) for k in others]
                total.append(torch.stack([x[one], *found]).mean(0))
            fused_uw = torch.stack(total).mean(0)
        else:
            fused_uw = x[0]
            for k, block in enumerate(self.blocks, start=1):
                fused_uw = attended(block, fused_uw, k)
        if self.whole is not None:
            fused_uw, on_ue = self.whole(fused_uw)
            ons.append(on_ue)
        attributes = 1 + 6 * torch.sigmoid(self.regress(fused_uw))
        return self.classify(fused_uw), attributes, fused_uw, ons, attention


def position(u: int, width: int) -> Tensor:
    """The Transformer's sinusoids."""
    angles = [u / 10000 ** (2 * i / width) for i in range(width // 2)]
    return torch.tensor([value for a in angles for value in (math.sin(a), math.cos(a))])


def off(ons: list[Tensor]) -> float:
    """Share of the experts that are off, over utterances and gates."""
    return 1 - float(torch.cat([on_ue.float().mean(-1) for on_ue in ons]).mean())


def student_loss(
    logits_uc: Tensor,
    crossed_uc: Tensor,
    teacher_uc: Tensor,
    labels_u: Tensor,
    kappa: tuple[float, float, float],
    temperature: float,
    smoothing: float,
) -> Tensor:
    """κ1·T²·KL(teacher's classifier on the student's features ‖ teacher's prediction) + κ2·CE +
    κ3·CE with smoothed labels, means over utterances.
    """
    crossed, taught = crossed_uc / temperature, teacher_uc.detach() / temperature
    log_ratio = torch.log_softmax(crossed, -1) - torch.log_softmax(taught, -1)
    divergence = temperature**2 * (torch.softmax(crossed, -1) * log_ratio).sum(-1).mean()
    plain = functional.cross_entropy(logits_uc, labels_u)
    smooth = functional.cross_entropy(logits_uc, labels_u, label_smoothing=smoothing)
    return kappa[0] * divergence + kappa[1] * plain + kappa[2] * smooth
