"""Reader and writer of the soft-label table that the authors of MEDUSA train on.

Columns `FileName,Angry,…,Neutral,EmoAct,EmoVal,EmoDom,Split_Set`; soft labels sum to 1. The split
Test is their hold-out from the training data, here `test1`. A row of zeros has no class target.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from medusa_jax.corpus.assembly import assemble, measure
from medusa_jax.corpus.label_file import attribute, check_name, placed, read_records
from medusa_jax.corpus.labels import CLASSES, PRIMARY_NAMES
from medusa_jax.corpus.msp_layout import AUDIOS
from medusa_jax.corpus.table import NO_AGREEMENT, Corpus
from medusa_jax.errors import LabelError
from medusa_jax.files import write_whole

COLUMNS = ("FileName", *PRIMARY_NAMES, "EmoAct", "EmoVal", "EmoDom", "Split_Set")
SPLIT_OF = {"Train": "train", "Development": "development", "Test": "test1"}

_TOLERANCE = 1e-3


def read_medusa_csv(path: Path) -> Corpus:
    """Read such a table, sorted by id; audio is expected in `Audios/` beside the file.

    The table has no votes (zeros here), speakers, genders or transcripts. The consensus is the
    class with the largest weight, `no_agreement` for a tie. Raises `LabelError` with file and
    line, `CorpusError` for a missing column.
    """
    rows: dict[str, tuple[list[float], list[float], str]] = {}
    for where, fields in read_records(path, COLUMNS):
        name = placed(where, check_name, fields["FileName"])
        if name in rows:
            raise LabelError(
                f"duplicate row for {name}", where=where, hint="remove one of the two lines"
            )
        if fields["Split_Set"] not in SPLIT_OF:
            raise LabelError(
                f"unknown split {fields['Split_Set']!r}",
                where=where,
                hint=f"known: {', '.join(SPLIT_OF)}",
            )
        attributes = [
            placed(where, attribute, fields[column], column)
            for column in ("EmoAct", "EmoVal", "EmoDom")
        ]
        rows[name] = (
            placed(where, _distribution, [fields[column] for column in PRIMARY_NAMES]),
            attributes,
            SPLIT_OF[fields["Split_Set"]],
        )
    return _corpus(dict(sorted(rows.items())), path.parent)


def write_medusa_csv(corpus: Corpus, path: Path) -> None:
    """Write the rows of `train`, `development` and `test1`, whole or not at all.

    A row without a class target gets zeros. Raises `LabelError` unless the targets of the corpus
    are the eight classes of the challenge.
    """
    if corpus.targets != CLASSES:
        raise LabelError(
            f"the table needs the classes {', '.join(CLASSES)}, "
            f"but the corpus has {', '.join(corpus.targets)}",
            hint="build it with --soft-labels primary",
        )
    name_of = {split: name for name, split in SPLIT_OF.items()}
    part = corpus.of_split(*name_of)
    table = pd.DataFrame(
        np.nan_to_num(part.frame[[f"soft_{c}" for c in CLASSES]].to_numpy(np.float64)),
        columns=list(PRIMARY_NAMES),
    )
    table.insert(0, "FileName", part.frame["id"])
    table[["EmoAct", "EmoVal", "EmoDom"]] = part.frame[
        ["arousal", "valence", "dominance"]
    ].to_numpy()
    table["Split_Set"] = part.frame["split"].map(name_of)
    with write_whole(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _distribution(cells: list[str]) -> list[float]:
    try:
        weights = [float(cell) for cell in cells]
    except ValueError:
        raise LabelError(f"the soft label {cells} contains a non-number") from None
    total = sum(weights)
    if any(not 0 <= weight <= 1 + _TOLERANCE for weight in weights) or not (
        total == 0 or abs(total - 1) <= _TOLERANCE
    ):
        raise LabelError(
            f"the soft label {weights} is not a distribution: its sum is {total:.4f}",
            hint="each row must sum to 1",
        )
    return weights if total else [float("nan")] * len(weights)


def _corpus(rows: dict[str, tuple[list[float], list[float], str]], root: Path) -> Corpus:
    soft = np.array([row[0] for row in rows.values()], np.float64).reshape(-1, len(CLASSES))
    attributes = np.array([row[1] for row in rows.values()], np.float64).reshape(-1, 3)
    audio = [f"{AUDIOS}/{name}" for name in rows]
    nothing = [None] * len(rows)
    votes = np.zeros((len(rows), len(CLASSES) + 1), np.int64)
    plain = {
        "id": list(rows),
        "audio": audio,
        "seconds": measure(root, audio),
        "split": [row[2] for row in rows.values()],
        "consensus": [_winner(row) for row in soft],
        "arousal": attributes[:, 0],
        "valence": attributes[:, 1],
        "dominance": attributes[:, 2],
        **{name: nothing for name in ("speaker", "gender", "transcript")},
    }
    frame = assemble(plain, votes, votes, CLASSES)
    frame[[f"soft_{c}" for c in CLASSES]] = soft
    return Corpus(frame=frame, classes=CLASSES, root=root, name="medusa-csv")


def _winner(weights: np.ndarray) -> str | None:
    if np.isnan(weights).all():
        return None
    best = np.flatnonzero(np.isclose(weights, weights.max(), atol=1e-6))
    return CLASSES[best[0]] if len(best) == 1 else NO_AGREEMENT
