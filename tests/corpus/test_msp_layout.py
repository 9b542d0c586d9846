"""The writer of MSP-Podcast's label files refuses tables that its reader would refuse."""

import pandas as pd
import pytest
from small_msp import RATINGS, UTTERANCES

from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.errors import CorpusError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, u: (r, u.drop(columns="Gender")), "missing column.s.*: Gender"),
        (lambda r, u: (r.drop(columns="EmoVal"), u), "missing column.s.*: EmoVal"),
        (lambda r, u: (r, u.iloc[1:]), "not in the table of utterances"),
        (lambda r, u: (pd.concat([r, r]), u), "two ratings of .* by WORKER01"),
        (lambda r, u: (r, pd.concat([u, u])), "duplicate"),
        (lambda r, u: (r.assign(Primary="Joy"), u), "unknown primary"),
        (lambda r, u: (r, u.assign(FileName=["../x.wav", *u["FileName"][1:]])), "is not the name"),
    ],
)
def test_the_writer_refuses_tables_that_cannot_be_read_back(tmp_path, change, message):
    with pytest.raises(CorpusError, match=message):
        write_msp_podcast_labels(tmp_path / "msp", *change(RATINGS, UTTERANCES))
    assert not (tmp_path / "msp").exists()
