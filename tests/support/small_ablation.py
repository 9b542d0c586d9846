"""An ablation of members that read words alone: two structures are all that must be compiled."""

from pathlib import Path

from small_run import SMALL, small_config

from medusa_jax.config.run import RunConfig
from medusa_jax.runs.folder import opened
from medusa_jax.runs.prepare import Prepared, prepare
from medusa_jax.runs.run import Run

WORDS = {
    "features": {"text": SMALL["features"]["text"]},
    "members": [
        {"id": "one", "modalities": ["text"], "seed": 1},
        {"id": "two", "modalities": ["text"], "seed": 2},
    ],
}
OWN_ROW = {
    "ablation": {
        "rows": {"mixed": {"about": "MixUp in every batch", "training": {"mixup_probability": 1}}}
    }
}


def base_of(out: Path, **changes: object) -> Prepared:
    """The base run of these members, prepared without features."""
    run = Run(RunConfig.model_validate(small_config(**{**WORDS, **changes})), out)
    with opened(run):
        return prepare(run, features=False)
