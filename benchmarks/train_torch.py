"""A plain PyTorch DeepSER loop for benchmarks/train.py.

Random batches padded to their longest, AdamW. It does what the published code means to do: key
padding masks, masked means, dropout, Manifold MixUp, soft targets with class weights, attributes.
Called with a JSON of settings; prints a JSON of measurements.
"""

import json
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train_task import FEEDFORWARD, LAYERS, WIDTHS, operations

from medusa_jax.corpus.table import Corpus


class Encoder(nn.Module):
    """Two linear maps, transformer layers, the mean over valid frames."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(hidden, 1, FEEDFORWARD, 0.1, batch_first=True)
            for _ in range(LAYERS)
        )

    def forward(self, x: Tensor, padding: Tensor) -> tuple[list[Tensor], Tensor]:
        """Every layer's output, and the mean of the last."""
        x, outputs = self.w2(F.relu(self.w1(x))), []
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
            outputs.append(x)
        valid = (~padding).unsqueeze(-1)
        return outputs, (x * valid).sum(1) / valid.sum(1)


class DeepSER(nn.Module):
    """Three modalities, fused layer by layer."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Encoder(width, hidden) for width in WIDTHS.values())
        self.fusions = nn.ModuleList(Encoder(hidden, hidden) for _ in range(LAYERS))
        self.project = nn.Linear(hidden * (len(WIDTHS) + 1), hidden)
        self.classify, self.regress = nn.Linear(hidden, 8), nn.Linear(hidden, 3)

    def forward(
        self, inputs: list[Tensor], paddings: list[Tensor], partner: Tensor, lam: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits and attributes of utterances mixed with their partners."""
        encoded = [
            encode(x, padding)
            for encode, x, padding in zip(self.encoders, inputs, paddings, strict=True)
        ]
        carried: list[Tensor] = []
        for level, fusion in enumerate(self.fusions):
            padding = torch.cat(paddings + paddings * len(carried), dim=1)
            outputs, pooled = fusion(
                torch.cat([outputs[level] for outputs, _ in encoded] + carried, dim=1), padding
            )
            carried = [outputs[-1]]
        x = self.project(torch.cat([mean for _, mean in encoded] + [pooled], dim=-1))
        x = F.relu(lam * x + (1 - lam) * x[partner])
        return self.classify(x), 1 + 6 * torch.sigmoid(self.regress(x))


class Data(torch.utils.data.Dataset):
    """Frames and targets by position."""

    def __init__(self, folder: Path) -> None:
        self.folder, corpus = folder, Corpus.load(folder / "corpus.parquet")
        self.ids = corpus.frame["id"].tolist()
        self.soft, self.ratings = (
            torch.tensor(corpus.soft).float(),
            torch.tensor(corpus.attributes).float(),
        )
        self.weights = (len(self.ids) / (8 * self.soft.sum(0))).sqrt()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[list[Tensor], Tensor, Tensor]:
        frames = [
            torch.from_numpy(np.load(self.folder / "npy" / name / f"{self.ids[row]}.npy"))
            for name in WIDTHS
        ]
        return frames, self.soft[row], self.ratings[row]


def collate(
    items: list[tuple[list[Tensor], Tensor, Tensor]],
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Pad to the longest; `True` marks padding."""
    inputs, paddings = [], []
    for frames in zip(*(item[0] for item in items), strict=True):
        length = torch.tensor([len(x) for x in frames])
        inputs.append(nn.utils.rnn.pad_sequence(frames, batch_first=True))
        paddings.append(torch.arange(int(length.max()))[None] >= length[:, None])
    return (
        inputs,
        paddings,
        torch.stack([item[1] for item in items]),
        torch.stack([item[2] for item in items]),
    )


class Loop:
    """The model, its optimiser and its data, trained an epoch at a time."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.device, self.half = torch.device(task["device"]), task["precision"] == "bfloat16"
        data, model = Data(Path(task["folder"])), DeepSER(task["hidden"]).to(self.device)
        self.run = torch.compile(model, dynamic=True) if task["compiled"] else model
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
        self.weights = data.weights.to(self.device)
        settings: dict[str, Any] = {}
        if self.device.type == "cuda":
            settings = {"num_workers": 4, "pin_memory": True, "persistent_workers": True}
        self.loader = torch.utils.data.DataLoader(
            data, task["batch"], shuffle=True, drop_last=True, collate_fn=collate, **settings
        )

    def moved(self, x: Tensor) -> Tensor:
        """On the device, without waiting."""
        return x.to(self.device, non_blocking=True)

    def step(
        self, inputs: list[Tensor], paddings: list[Tensor], soft: Tensor, ratings: Tensor
    ) -> Tensor:
        """One step of the optimiser; its loss."""
        frames = [self.moved(x).float() for x in inputs]
        masks = [self.moved(x) for x in paddings]
        soft, ratings = self.moved(soft), self.moved(ratings)
        partner = torch.randperm(len(soft), device=self.device)
        lam = torch.ones(len(soft), 1, device=self.device)
        if torch.rand(()) < 0.3:
            lam = self.moved(torch.distributions.Beta(0.2, 0.2).sample((len(soft), 1)))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits, attributes = self.run(frames, masks, partner, lam)
        soft, ratings = (lam * x + (1 - lam) * x[partner] for x in (soft, ratings))
        crossed = -(soft * self.weights * F.log_softmax(logits.float(), -1)).sum(-1).mean()
        loss = 1.5 * crossed + 0.4 * F.mse_loss(attributes.float(), ratings)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def epoch(self, most: int | None = None) -> tuple[int, np.ndarray, np.ndarray, float]:
        """Steps, real and computed frames `[n, k]`, the last loss; of at most `most` batches."""
        real, computed = [], []
        for batch in islice(self.loader, most):
            loss = self.step(*batch)
            real.append(torch.stack([(~padding).sum(1) for padding in batch[1]], dim=1).numpy())
            computed.append(np.tile([padding.shape[1] for padding in batch[1]], (len(real[-1]), 1)))
        return len(real), np.concatenate(real), np.concatenate(computed), float(loss)


def main() -> None:
    task = json.loads(sys.argv[1])
    torch.manual_seed(0)
    loop = Loop(task)
    began = time.perf_counter()
    loop.epoch(None if task["compiled"] else 1)  # warm: kernels chosen, programs compiled
    warm, began = time.perf_counter() - began, time.perf_counter()
    steps, real, computed, loss = loop.epoch()
    found: dict[str, Any] = {"seconds": time.perf_counter() - began, "first_pass_seconds": warm}
    found |= {"utterances": len(real), "steps": steps, "loss": loss, "waited": None}
    found |= {"memory": peak_memory(loop.device), "padding": 1 - real.sum() / computed.sum()}
    found |= {"real": operations(real, task["hidden"])}
    found |= {"computed": operations(computed, task["hidden"])}
    print(json.dumps(found, default=float))


def peak_memory(device: torch.device) -> int:
    """Bytes on the card, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
