"""Random tokens for text encoders, and transformers' hidden states of them."""

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

VOCABULARY = 120
COUNTS = (171, 67, 2)  # tokens; more than 130, where a window of 64 to either side ends


def tokens():
    """Tokens `[b, t]` but for the special ones, with a filler of no model behind them."""
    rng = np.random.default_rng(0)
    ids_bt = np.zeros((len(COUNTS), COUNTS[0]), np.int32)
    for row, count in zip(ids_bt, COUNTS, strict=True):
        row[:count] = rng.integers(5, VOCABULARY, count)
    return ids_bt


def saved(model, folder):
    """The folder with `model`, whose weights are not near zero and whose norms do something."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.8, std=0.2)
        else:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def states_in_torch(model, ids_t):
    """Hidden states `[l, t, h]`, the last one the encoder's result."""
    ids_1t = torch.tensor(np.asarray(ids_t), dtype=torch.long)[None]
    with torch.inference_mode():
        out = model(input_ids=ids_1t, output_hidden_states=True)
    assert torch.equal(out.hidden_states[-1], out.last_hidden_state)
    return torch.stack(out.hidden_states)[:, 0].numpy()


def run(model, ids_bt, count_b, compute=jnp.float32):
    """Our model's states of a padded batch."""
    forward = nnx.jit(lambda model, ids, count: model(ids, count, compute))
    return forward(model, jnp.array(ids_bt), jnp.array(count_b))
