"""A model's folder changed for a test, and models compared."""

import json

import jax
import numpy as np
from flax import nnx
from safetensors.numpy import load_file, save_file


def copied(saved, folder):
    """The files of a model's folder, to be changed in `folder`."""
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def rewrite(folder, change):
    """Change the weights: `change` gets the tensors by key, and returns others or changes these."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file(change(tensors) or tensors, file)


def reset(folder, name="config.json", **settings):
    """Set keys of a JSON file of the folder."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def same(one, other):
    """True if two models of one structure have equal parameters."""
    leaves = [jax.tree.leaves(nnx.state(model, nnx.Param)) for model in (one, other)]
    return all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
