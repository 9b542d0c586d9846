"""Open a member's checkpoint with plain orbax.

python open_checkpoint.py RUN/members/ID/checkpoints/best-00000021
"""

import sys
from pathlib import Path

import jax
import orbax.checkpoint as ocp

arrays = ocp.StandardCheckpointer().restore(Path(sys.argv[1]).absolute())
for path, array in jax.tree_util.tree_leaves_with_path(arrays):
    print(jax.tree_util.keystr(path, simple=True, separator="/"), array.shape, array.dtype)
