"""A plain PyTorch SUMMER for benchmarks/summer.py, its experts `nn.GRU`s on packed sequences.

Random batches padded to their longest, Adam. Called with a JSON of settings; prints a JSON of
measurements.
"""

import json
import math
import resource
import sys
import time
from typing import Any

import numpy as np
import torch
from summer_task import KAPPA, SHAPES, SMOOTHING, Dialogues, generated, padded
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HEADS, ALPHA, TAU, PHI, BEYOND, DROPOUT, SLOTS = 8, 2.0, 0.5, 0.5, 0.5, 0.1, 9


class Experts(nn.Module):
    """Bidirectional GRUs, those within α deviations of the mean gate weight mixed."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, experts)
        self.grus = nn.ModuleList(
            nn.GRU(width, width // 2, batch_first=True, bidirectional=True) for _ in range(experts)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Mixed outputs, zeros at padding."""
        logits = self.gate(x)
        centred = logits - logits.mean(-1, keepdim=True)
        on = centred.abs() <= ALPHA * centred.pow(2).mean(-1, keepdim=True).sqrt()
        on = on | (~on.any(-1, keepdim=True) & (logits == logits.amax(-1, keepdim=True)))
        if self.training:
            noise = -torch.empty_like(logits).exponential_().log()
            logits = (logits + noise) / TAU
        weights = logits.masked_fill(~on, -math.inf).softmax(-1)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        mixed = torch.zeros_like(x)
        for e, gru in enumerate(self.grus):
            outputs, _ = pad_packed_sequence(gru(packed)[0], True, total_length=x.shape[1])
            mixed = mixed + weights[..., e : e + 1] * outputs
        return mixed


class Block(nn.Module):
    """One stream queries another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, other: Tensor, valid: Tensor, teacher: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The residual and norm of what is found, and the scores."""
        b, u, w = x.shape
        parts = self.query(x), self.key(other), self.value(other)
        q, k, v = (part.view(b, u, HEADS, -1).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(2, 3) / math.sqrt(w // HEADS)
        if teacher is not None:
            gap = teacher - scores
            scores = torch.where(gap.abs() > BEYOND, scores + PHI * gap, scores)
        weights = scores.masked_fill(~valid[:, None, None], -math.inf).softmax(-1)
        weights = F.dropout(weights, DROPOUT, self.training)
        found = self.out((weights @ v).transpose(1, 2).reshape(b, u, w))
        return self.norm(x + F.dropout(found, DROPOUT, self.training)), scores


class Network(nn.Module):
    """A teacher of one stream or a student of several."""

    def __init__(self, width: int, experts: int, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Linear(d, width) for d in widths)
        self.speakers = nn.Embedding(SLOTS, width)
        self.experts = nn.ModuleList(Experts(width, experts) for _ in widths)
        self.blocks = nn.ModuleList(Block(width) for _ in range(max(1, len(widths) - 1)))
        self.whole, self.classify = Experts(width, experts), nn.Linear(width, classes)

    def forward(
        self,
        streams: list[Tensor],
        speakers: Tensor,
        lengths: Tensor,
        teacher: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, features and the first block's scores."""
        u = streams[0].shape[1]
        valid = torch.arange(u)[None] < lengths[:, None]
        shared = self.speakers(speakers) + positions(u, self.speakers.embedding_dim)
        found = []
        for x, project, experts in zip(streams, self.projects, self.experts, strict=True):
            x = F.dropout(project(x) + shared, DROPOUT, self.training)
            found.append(experts(x, lengths))
        x, scores = found[0], []
        for block, other in zip(self.blocks, found[1:] or found, strict=True):
            x, own = block(x, other, valid, teacher)
            scores.append(own)
        x = F.dropout(self.whole(x, lengths), DROPOUT, self.training)
        return self.classify(x), x, scores[0]


def positions(places: int, width: int) -> Tensor:
    """Sines and cosines of each place."""
    rate = 10_000 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(places)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).reshape(places, width)


class Loop:
    """Both networks, their optimisers and the dialogues."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.shape = SHAPES[task["corpus"]]
        self.data: Dialogues = generated(self.shape, task["times"])
        sizes, widths = (task["width"], task["experts"]), tuple(self.shape.widths.values())
        self.teacher = Network(*sizes, widths[:1], self.shape.classes)
        self.student = Network(*sizes, widths, self.shape.classes)
        nets = {"teacher": self.teacher, "student": self.student}
        self.optimisers = {
            name: torch.optim.Adam(net.parameters(), lr=1e-4) for name, net in nets.items()
        }
        self.rng = np.random.default_rng(1)

    def epoch(self, phase: str) -> int:
        """Train on random batches; the number of turns."""
        size = min(self.shape.batch, len(self.data.lengths))
        order, turns = self.rng.permutation(len(self.data.lengths)), 0
        for first in range(0, len(order) - size + 1, size):
            rows = order[first : first + size]
            turns += int(self.data.lengths[rows].sum())
            self.step(phase, rows)
        return turns

    def step(self, phase: str, rows: np.ndarray) -> None:
        """One step of the phase's optimiser."""
        lengths = self.data.lengths[rows]
        longest = int(lengths.max())
        every = range(len(self.shape.widths))
        streams = [
            torch.from_numpy(padded([self.data.streams[i][k] for i in rows], longest))
            for k in every
        ]
        speakers = torch.from_numpy(padded([self.data.speakers[i] for i in rows], longest))
        labels = torch.from_numpy(np.concatenate([self.data.labels[i] for i in rows]))
        length_b = torch.from_numpy(lengths)
        valid = torch.arange(longest)[None] < length_b[:, None]
        given = speakers, length_b
        if phase == "teacher":
            logits, _, _ = self.teacher.train()(streams[:1], *given)
            loss = supervised(logits[valid], labels)
        else:
            with torch.no_grad():
                taught, _, scores = self.teacher.eval()(streams[:1], *given)
            logits, features, _ = self.student.train()(streams, *given, scores)
            layer = self.teacher.classify
            crossed = F.linear(features, layer.weight.detach(), layer.bias.detach())[valid]
            own, wanted = crossed.log_softmax(-1), taught[valid].log_softmax(-1)
            divergence = (own.exp() * (own - wanted)).sum(-1).mean()
            loss = KAPPA[0] * divergence + supervised(logits[valid], labels)
        self.optimisers[phase].zero_grad()
        loss.backward()
        self.optimisers[phase].step()


def supervised(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, and the part with smoothed labels."""
    plain = F.cross_entropy(logits, labels)
    return KAPPA[1] * plain + KAPPA[2] * F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)


def main() -> None:
    task = json.loads(sys.argv[1])
    loop, found = Loop(task), {}
    for phase in ("teacher", "student"):
        seconds, rates = [], []
        for _ in range(1 + task["epochs"]):
            began = time.perf_counter()
            turns = loop.epoch(phase)
            seconds.append(time.perf_counter() - began)
            rates.append(turns / seconds[-1])
        found[phase] = {"first": seconds[0], "rate": float(np.median(rates[1:]))}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**found, "memory": memory}))


if __name__ == "__main__":
    main()
