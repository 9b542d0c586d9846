"""What a report says of a run, as numbers: the page, the model card, `report.json` and the CSV files are all made of these.

| table | a row is |
|---|---|
| `scores` | a system on a part |
| `comparisons` | the shown system against another one |
| `classes`, `confusion` | a class; a true and a predicted class |
| `curves` | a member's epoch in a fold |
| `weights` | the soup's weight of a member for a class |
| `calibration`, `reliability`, `agreement` | a system; one of its bins; a system |
| `groups` | a group of utterances |
| `worst` | a surely wrong utterance |
| `ablation`, `ensembles`, `questions` | a row of a study (see `studies`), with its part |
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medusa_jax.evaluation.report import CorpusFacts
from medusa_jax.evaluation.tables import Row, csv_text
from medusa_jax.files import write_text

"""Corrected p-values below it are marked."""


@dataclass(frozen=True)
class Findings:
    """A run's report before it has a form.

    `system` is the one that the report is about, `part` the utterances on which. `missing` says by table why it is empty or
    lacks something; `notes` are a study's own, by `TABLE-PART`. `players` are addresses of the audio of `worst`, where it is on this machine.
    """

    run: str
    about: str
    corpus: CorpusFacts
    classes: tuple[str, ...]
    part: str
    system: str
    members: Mapping[str, tuple[str, ...]]
    learned_from: str
    tables: Mapping[str, Sequence[Row]]
    missing: Mapping[str, str]
    notes: Mapping[str, Sequence[str]]
    provenance: Mapping[str, object]
    config: Mapping[str, object]
    players: Mapping[str, str]

    def rows(self, table: str) -> Sequence[Row]:
        """The rows of a table; none if there is none."""
        return self.tables.get(table, ())

    @property
    def score(self) -> Row:
        """The shown system's row of `scores` on the shown part."""
        return next(
            row
            for row in self.rows("scores")
            if (row["part"], row["system"]) == (self.part, self.system)
        )

    def as_json(self) -> str:
        """Everything, as the text of `report.json`."""
        corpus = {
            "name": self.corpus.name,
            "synthetic": self.corpus.synthetic,
            "counts": dict(self.corpus.counts),
            "classes": self.classes,
        }
        head = {
            "run": self.run,
            "about": self.about,
            "corpus": corpus,
            "part": self.part,
            "system": self.system,
        }
        rest = {
            "members": self.members,
            "learned_from": self.learned_from,
            "missing": self.missing,
            "notes": self.notes,
            "tables": self.tables,
        }
        found = {**head, **rest, "provenance": self.provenance, "config": self.config}
        return json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def write_numbers(findings: Findings, folder: Path) -> None:
    """Write `report.json` and `report/TABLE.csv` of every table that has rows into `folder`, each whole or not at all.

    A table that an earlier report had and this one has not is removed.
    """
    write_text(folder / "report.json", findings.as_json())
    filled = {name: rows for name, rows in findings.tables.items() if rows}
    for name, rows in filled.items():
        write_text(folder / "report" / f"{name}.csv", csv_text(rows))
    for path in (folder / "report").glob("*.csv"):
        if path.stem not in filled:
            path.unlink()
