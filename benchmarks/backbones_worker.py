"""One contender of benchmarks/backbones.py: prints a JSON of seconds and memory on its last line.

- `extract`: hidden states of clips (or texts) through the extractor, by Flax or by PyTorch.
- `tune`: steps that train a WavLM on waves, its convolutions frozen: the engine's own step, or a
  plain PyTorch loop in eager mode. Dropouts, skipped layers and masked time as published.
- `positions`: forward and backward of the positional convolution, with our gradient or XLA's.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

RATE = 16_000
WARM_UP = 2  # steps


def extract(task: dict[str, Any]) -> dict[str, float]:
    """Seconds of the first pass over all inputs, compilation included, and of the next ones."""
    from medusa_jax.config.features import HuggingFaceConfig
    from medusa_jax.features.registry import build_extractor

    settings = {key: task[key] for key in ("backend", "layers", "window", "compute", "device")}
    extractor = build_extractor(HuggingFaceConfig(model=f"hf:{task['folder']}", **settings))
    extractor.prepare()
    given = _texts(task) if extractor.reads == "text" else clips_of(task["clips"])
    passes = [_seconds(partial(extractor, given)) for _ in range(1 + task["passes"])]
    return {"first": passes[0], "seconds": float(np.median(passes[1:]))}


def clips_of(count: int) -> list[np.ndarray]:
    """Noises of one to twelve seconds, 5.8 s on average, as in MSP-Podcast."""
    rng = np.random.default_rng(0)
    seconds = np.clip(rng.gamma(4, 1.45, count), 1, 12)
    return [rng.standard_normal(round(s * RATE)).astype(np.float32) / 10 for s in seconds]


def _texts(task: dict[str, Any]) -> list[str]:
    """Three to forty words each."""
    rng = np.random.default_rng(0)
    counts = rng.integers(3, 41, 4 * task["clips"])
    return [" ".join(f"w{word}" for word in rng.integers(0, 900, count)) for count in counts]


def tune(task: dict[str, Any]) -> dict[str, float]:
    """Seconds of the first step and the median of later ones."""
    rng = np.random.default_rng(0)
    b, n = task["batch"], round(task["seconds"] * RATE)
    waves = rng.standard_normal((b, n, 1)).astype(np.float32)
    labels = rng.integers(0, 8, b)
    step = (tune_in_flax if task["backend"] == "flax" else tune_in_torch)(task, waves, labels)
    first = _seconds(step)
    later = [_seconds(step) for _ in range(WARM_UP + task["passes"])][WARM_UP:]
    return {"first": first, "seconds": float(np.median(later))}


def tune_in_flax(
    task: dict[str, Any], waves: np.ndarray, labels: np.ndarray
) -> Callable[[], object]:
    """A step of the engine."""
    import jax

    from medusa_jax.batches.examples import Batch
    from medusa_jax.config.training import MemberConfig
    from medusa_jax.machines.mesh import devices_of
    from medusa_jax.tasks.facts import Facts
    from medusa_jax.tasks.finetuning import FinetuningTask
    from medusa_jax.training.members import Member, one_lane

    b, names = len(waves), tuple("abcdefgh")
    section = {
        "backbones": {"speech": f"hf:{task['folder']}"},
        "pooling": "mean",
        "precision": task["compute"],
        "remat": task["remat"],
    }
    training = {"batch_size": b, "mixup_probability": 0, "attribute_loss": 0}
    training["stage1"] = {"epochs": 1, "learning_rate": 1e-5}
    member = MemberConfig.model_validate(
        {
            "id": "one",
            "task": "finetuning",
            "modalities": ["speech"],
            "model": {},
            "training": training,
            "finetuning": section,
        }
    )
    facts = Facts(names, names, (), {"speech": 1}, {}, np.ones(8, "f4"), np.zeros(1, int), 0)
    steps = 1 + WARM_UP + task["passes"]
    own = Member("one", FinetuningTask(member, facts), (0, 0), "")
    lanes = one_lane(own, 0, (steps, b), devices_of(1))
    targets, ratings = np.eye(8, dtype=np.float32)[labels], np.zeros((b, 3), np.float32)
    lengths = {"speech": np.full(b, waves.shape[1], np.int32)}
    some = (targets, targets, ratings, ratings, np.full(b, 2, np.int32))
    batch = jax.device_put(Batch({"speech": waves}, lengths, *some))
    return lambda: jax.block_until_ready(lanes.step(batch))


def tune_in_torch(
    task: dict[str, Any], waves: np.ndarray, labels: np.ndarray
) -> Callable[[], object]:
    """A step of a plain loop."""
    import torch
    from transformers import AutoModel

    device = "cuda" if task["device"] != "cpu" and torch.cuda.is_available() else "cpu"
    model = AutoModel.from_pretrained(task["folder"]).to(device).train()
    model.feature_extractor._freeze_parameters()
    head = torch.nn.Sequential(
        torch.nn.Linear(model.config.hidden_size, 1024),
        torch.nn.LayerNorm(1024),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(1024, 8),
    ).to(device)
    mixed = torch.zeros(model.config.num_hidden_layers + 1, device=device, requires_grad=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([*trained, *head.parameters(), mixed], 1e-5, weight_decay=0.01)
    wave_bn = torch.tensor(waves[..., 0], device=device)
    label_b = torch.tensor(labels, device=device)
    rounded = task["compute"] == "bfloat16"

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=rounded):
            states = torch.stack(model(wave_bn, output_hidden_states=True).hidden_states)
            # transformers leaves skipped layers out of the hidden states
            share = mixed[: len(states)].softmax(0)
            pooled = torch.einsum("l,lbth->bth", share, states.float()).mean(1)
            loss = torch.nn.functional.cross_entropy(head(pooled), label_b)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def positions(task: dict[str, Any]) -> dict[str, float]:
    """Seconds of the convolution of a wave's frames, forward and backward."""
    import jax
    import jax.numpy as jnp

    from medusa_jax.backbones.positions import grouped

    width, groups, taps = task["width"], 16, 128
    frames = round(task["seconds"] * 50) - 1
    k_x, k_w = jax.random.split(jax.random.key(0))
    x_bth = jax.random.normal(k_x, (task["batch"], frames, width))
    w_kih = jax.random.normal(k_w, (taps, width // groups, width)) / 100

    def ours(x: jax.Array, w: jax.Array) -> jax.Array:
        return (grouped(x, w, groups, jnp.float32) ** 2).sum()

    def xla(x: jax.Array, w: jax.Array) -> jax.Array:
        y = jax.lax.conv_general_dilated(
            x,
            w,
            (1,),
            [(taps // 2, taps // 2 - 1)],
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=groups,
        )
        return (y**2).sum()

    run = jax.jit(jax.grad(ours if task["backend"] == "flax" else xla, argnums=(0, 1)))
    first = _seconds(lambda: jax.block_until_ready(run(x_bth, w_kih)))
    later = [
        _seconds(lambda: jax.block_until_ready(run(x_bth, w_kih))) for _ in range(task["passes"])
    ]
    return {"first": first, "seconds": float(np.median(later))}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Run the task of the command line."""
    task = json.loads(sys.argv[1])
    what = {"extract": extract, "tune": tune, "positions": positions}[task["what"]]
    found = what({**task, "folder": Path(task.get("folder", "."))})
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**found, "peak_mb": kilobytes / 1e3}))


if __name__ == "__main__":
    main()
