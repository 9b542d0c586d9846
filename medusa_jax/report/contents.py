"""The numbers of a report: page, model card, `report.json` and CSV files are all made from them.

| table | a row is |
|---|---|
| `scores` | a system on a part |
| `picked_by_test` | a member of conversations, and its epoch that test labels would pick |
| `published` | a published result on the same corpus |
| `curves` | a member's epoch in a fold |
| `weights` | the soup's weight of a member for a class, or the weighted vote's in a fold |
| `ablation`, `ensembles`, `questions` | a row of a study (see `studies`), with its part |

The tables about the shown system are those of `evaluation.details`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from medusa_jax.evaluation.headline import Headline, headline_of_row
from medusa_jax.evaluation.scores_file import CorpusFacts
from medusa_jax.evaluation.tables import Row, csv_text
from medusa_jax.files import write_text

GROUPS_NOTE = (
    "Macro-F1 over the classes that occur in a group; groups with other classes compare only "
    "loosely."
)


@dataclass(frozen=True)
class Findings:
    """A run's report before it has a form.

    It is about `system` on `part`. `missing` gives the reason, by table, for rows that are missing;
    `notes` are sentences by table, those of a study by `TABLE-PART`. `players` are URIs of the
    audio of `worst` that is on this machine.
    """

    run: str
    about: str
    corpus: CorpusFacts
    classes: tuple[str, ...]
    part: str
    system: str
    members: Mapping[str, tuple[str, ...]]
    learner: str
    learned_from: str
    tables: Mapping[str, Sequence[Row]]
    missing: Mapping[str, str]
    notes: Mapping[str, Sequence[str]]
    provenance: Mapping[str, object]
    config: Mapping[str, object]
    players: Mapping[str, str]

    def rows(self, table: str) -> Sequence[Row]:
        """The rows of a table; empty if it is missing."""
        return self.tables.get(table, ())

    @property
    def score(self) -> Row:
        """The shown system's row of `scores` on the shown part."""
        return next(
            row
            for row in self.rows("scores")
            if (row["part"], row["system"]) == (self.part, self.system)
        )

    @property
    def headline(self) -> Headline:
        """The score that the systems are compared by."""
        return headline_of_row(self.score)

    def as_json(self) -> str:
        """Everything, as the text of `report.json`."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        del found["players"]  # they hold on this machine only
        corpus = {**asdict(self.corpus), "classes": found.pop("classes")}
        return (
            json.dumps(found | {"corpus": corpus}, indent=1, allow_nan=False, ensure_ascii=False)
            + "\n"
        )


def write_numbers(findings: Findings, file: Path, tables: Path) -> None:
    """Write everything as JSON to `file`, and each table that has rows to `tables/TABLE.csv`.

    Each file is written whole or not at all. Tables that an earlier report had are removed.
    """
    write_text(file, findings.as_json())
    filled = {name: rows for name, rows in findings.tables.items() if rows}
    for name, rows in filled.items():
        write_text(tables / f"{name}.csv", csv_text(rows))
    for path in tables.glob("*.csv"):
        if path.stem not in filled:
            path.unlink()
