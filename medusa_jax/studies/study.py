"""A study's table before it has a form: rows of systems with scores over seeds and a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medusa_jax.evaluation.format import SIGNIFICANT
from medusa_jax.evaluation.headline import CONVERSATIONS, headline_of_row
from medusa_jax.evaluation.scores_file import CorpusFacts
from medusa_jax.evaluation.seeds import SeedScores
from medusa_jax.evaluation.tables import Row

MSP_PODCAST = (
    "The published numbers were measured on MSP-Podcast; on another corpus only the directions "
    "can be set side by side."
)


@dataclass(frozen=True)
class Study:
    """The rows of a study and all that stands with them.

    `words` maps the columns that name a row (two or more) to their headers; the other columns are
    `score_columns` and `difference_columns`. `questions` are rows of `question`, `one`, `other` and
    `difference_columns`. `notes` are sentences that a reader must know; `reference` has published
    numbers beside ours, keyed by header, and `reference_note` the caution about them; `settings`
    says how the study was made.
    """

    title: str
    corpus: CorpusFacts
    words: Mapping[str, str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    reference: Sequence[Row] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    questions: Sequence[Row] = ()
    reference_note: str = MSP_PODCAST

    @property
    def conversations(self) -> bool:
        """True if the rows are scored as conversations."""
        return any(headline_of_row(row) is CONVERSATIONS for row in self.rows)


def score_columns(scores: SeedScores) -> dict[str, str | float | None]:
    """A system's mean over its seeds, its interval and its spread over seeds; of conversations
    also Macro-F1.
    """
    name = scores.headline.name
    found: dict[str, str | float | None] = {
        "seeds": scores.seeds,
        name: scores.mean,
        f"{name}_low": scores.interval.low,
        f"{name}_high": scores.interval.high,
        "seed_sd": scores.seed_sd,
        "accuracy": scores.accuracy,
    }
    return found | {"macro_f1": scores.macro_f1}


def significant(row: Row) -> bool:
    """True if the row's difference is significant after correction."""
    p = row.get("p_corrected")
    return isinstance(p, float | int) and p < SIGNIFICANT
