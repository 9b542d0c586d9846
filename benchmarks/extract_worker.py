"""One contender of benchmarks/extract.py: prints its seconds and memory as one line of JSON.

`published`: one utterance at a time, float32, all hidden states kept, one `.npy` an utterance. The
published code also cuts WavLM's and HuBERT's input into pieces of 0.19 s; that fault is left out.
`ours`: as `medusa extract` does it.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.features.encoder import HuggingFace
from medusa_jax.features.extract import extract

WARM_UP = 4  # utterances before the clock starts


def published(corpus: Corpus, task: dict[str, Any]) -> float:
    """Seconds for all utterances, without loading the model."""
    from transformers import AutoFeatureExtractor, AutoModel

    device = torch.device(task["device"])
    model = AutoModel.from_pretrained(task["model"]).eval()
    whisper = model.config.model_type == "whisper"
    model = (model.get_encoder() if whisper else model).to(device)
    feeder = AutoFeatureExtractor.from_pretrained(task["model"])
    folder = Path(task["out"])
    folder.mkdir(parents=True)

    @torch.no_grad()
    def one(row: int) -> None:
        wave_n, rate = soundfile.read(corpus.audio_path(row), dtype="float32")
        inputs = feeder(wave_n, sampling_rate=rate, return_tensors="pt").to(device)
        output = model(**inputs, output_hidden_states=True)
        if task["layers"] == "last":
            frames_td = output.last_hidden_state[0]
        else:  # transformers 5 leaves the final layer norm out of the last of the hidden states
            frames_td = torch.stack([*output.hidden_states[-4:-1], output.last_hidden_state]).sum(
                0
            )[0]
        if whisper:
            frames_td = frames_td[: -(-len(wave_n) // (2 * feeder.hop_length))]
        np.save(folder / f"{corpus.frame['id'].iat[row]}.npy", frames_td.cpu().numpy())

    for row in range(min(WARM_UP, len(corpus))):
        one(row)
    began = time.perf_counter()
    for row in range(len(corpus)):
        one(row)
    return time.perf_counter() - began


def ours(corpus: Corpus, task: dict[str, Any]) -> float:
    """The same, into a store; hashing the weights is left out as loading is."""
    prepare, before = HuggingFace.prepare, 0.0

    def prepared(self: HuggingFace) -> None:
        nonlocal before
        began = time.perf_counter()
        prepare(self)
        self([np.full(16_000, 0.1, np.float32)] * WARM_UP)
        before += time.perf_counter() - began

    HuggingFace.prepare = prepared  # type: ignore[method-assign]
    settings = {
        key: task[key] for key in ("model", "layers", "compute", "window", "device", "dtype")
    }
    config = HuggingFaceConfig(**settings, backend="torch")
    HuggingFace(config).identity()
    began = time.perf_counter()
    extract(corpus, config, Path(task["out"]), own_process=False)
    return time.perf_counter() - began - before


def main() -> None:
    task = json.loads(sys.argv[1])
    corpus = Corpus.load(Path(task["table"]))
    seconds = {"published": published, "ours": ours}[task["contender"]](corpus, task)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cuda = torch.cuda.max_memory_allocated() / 1e6 if task["device"] == "cuda" else None
    print(json.dumps({"seconds": seconds, "peak_mb": kilobytes / 1e3, "cuda_peak_mb": cuda}))


if __name__ == "__main__":
    main()
