"""Time that `window: real` saves for Whisper's encoder, and its distance from the padded window.

    python benchmarks/whisper_window.py [--model FOLDER] [--audio FOLDER] [--clips 16] [--rounds 3]
        [--quick] [--out FILE]

Separate processes take turns; the ratio's spread is over the rounds. Without `--model` the weights
are random, of the size of whisper-large-v3's encoder (`--quick`: of whisper-base's): the times hold
for trained ones too, the difference does not. Without `--audio` the speech is generated.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, save, target

SIZES = {  # width, layers, heads, bands
    "large": (1280, 32, 20, 128),
    "base": (512, 6, 8, 80),
}
FASTER = 3.0  # for clips of 6 s and less, a fifth of the window


def save_random(folder: Path, size: str) -> Path:
    """Write a random Whisper whose encoder has this size; its decoder is small and never run."""
    import torch
    import transformers

    torch.manual_seed(0)
    width, layers, heads, bands = SIZES[size]
    encoder = {
        "encoder_layers": layers,
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "num_mel_bins": bands,
    }
    decoder = {"decoder_layers": 1, "decoder_attention_heads": heads, "decoder_ffn_dim": 16}
    transformers.WhisperModel(
        transformers.WhisperConfig(d_model=width, **encoder, **decoder)
    ).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=bands).save_pretrained(folder)
    return folder


def speech(folder: Path | None, scratch: Path, clips: int) -> list[np.ndarray]:
    """The first waveforms of a folder, or generated ones."""
    from medusa_jax.audio.decode import load_audio
    from medusa_jax.synthetic.generate import generate

    root = folder or generate(scratch / "generated", size=60, test_per_class=5, seed=0)
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".wav", ".flac"))
    return [load_audio(path) for path in paths[:clips]]


def measure(model: Path, waves: Path, window: str, out: Path) -> None:
    """In a process of its own: encode the waveforms warm, save the frames, print the seconds."""
    from medusa_jax.config.features import HuggingFaceConfig
    from medusa_jax.features.registry import build_extractor

    with np.load(waves) as stored:
        inputs = [stored[name] for name in stored.files]
    config = HuggingFaceConfig(model=str(model), layers="last", window=window, backend="torch")
    extractor = build_extractor(config)
    extractor(inputs[:1])
    began = time.perf_counter()
    frames = extractor(inputs)
    print(time.perf_counter() - began)
    np.save(out, np.concatenate(frames))


def once(model: Path, waves: Path, window: str, out: Path) -> float:
    command = [sys.executable, __file__, "--measure", str(model), str(waves), window, str(out)]
    return float(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def compare(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Seconds of both by turns, and the difference of their frames."""
    model = given.model or save_random(scratch / "model", "base" if given.quick else "large")
    inputs = speech(given.audio, scratch, given.clips)
    np.savez(scratch / "waves.npz", *inputs)
    seconds: dict[str, list[float]] = {"full": [], "real": []}
    for _ in range(given.rounds):
        for window, taken in seconds.items():
            taken.append(once(model, scratch / "waves.npz", window, scratch / f"{window}.npy"))
    full, real = (np.load(scratch / f"{window}.npy").astype(np.float64) for window in seconds)
    return {
        "model": str(given.model)
        if given.model
        else f"random, {'base' if given.quick else 'large-v3'}",
        "mean_clip_seconds": float(np.mean([len(wave) for wave in inputs]) / 16_000),
        "seconds": seconds,
        "ratios": [
            one / other for one, other in zip(seconds["full"], seconds["real"], strict=True)
        ],
        "difference": float(np.sqrt(((full - real) ** 2).mean()) / full.std()),
        "correlation": float(np.corrcoef(full.ravel(), real.ravel())[0, 1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder of a Whisper model")
    parser.add_argument("--audio", type=Path, help="folder of speech of at most 30 s")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        model, waves, window, out = given.measure
        return measure(Path(model), Path(waves), window, Path(out))
    if given.quick:
        given.clips, given.rounds = min(given.clips, 6), min(given.rounds, 2)
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(given, Path(scratch))
    save(given.out, machine("torch", "transformers"), **result)
    show(result, given.clips)


def show(result: dict[str, Any], clips: int) -> None:
    """The ratio, the difference, and the target."""
    ratios = sorted(result["ratios"])
    faster = float(np.median(ratios))
    length = f"{clips} clips of {result['mean_clip_seconds']:.1f} s on average"
    print(f"{result['model']}, {length}, {os.cpu_count()} cores")
    print(f"full / real: {faster:.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
    apart = f"root mean square {result['difference']:.3f} of their deviation"
    print(f"frames of real against full: {apart}, correlation {result['correlation']:.3f}")
    wanted = f"at least {FASTER:g} times faster"
    print(target("window", wanted, f"{faster:.2f}", faster >= FASTER))


if __name__ == "__main__":
    main()
