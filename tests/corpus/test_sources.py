"""Recognition of corpus folders, and the options of each source."""

import pytest
from small_msp import RATINGS, UTTERANCES

from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.corpus.sources import open_corpus, read_source, recognise
from medusa_jax.errors import CorpusError


def test_folders_are_recognised(tmp_path, shared_data, tmp_path_factory):
    write_msp_podcast_labels(tmp_path, RATINGS, UTTERANCES)
    assert recognise(tmp_path) == "msp-podcast"
    assert recognise(shared_data / "crema_d_votes") == "crema-d"
    assert recognise(shared_data / "ravdess") == "ravdess"
    with pytest.raises(CorpusError, match="not recognised"):
        recognise(tmp_path_factory.mktemp("empty"))
    with pytest.raises(CorpusError, match="does not exist"):
        open_corpus(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("savee", {}, "unknown source 'savee'"),
        ("ravdess", {"label_set": 4, "merge_excited": True}, "no option label_set, merge_excited"),
        ("iemocap", {"audio": "wav"}, "has no option audio"),
        ("meld", {"soft_labels": "with_other"}, "has no option soft_labels"),
        ("ravdess", {"soft_labels": "with_other"}, "has no option soft_labels"),
        ("crema-d", {"transcripts": "asr"}, "has no option transcripts"),
    ],
)
def test_an_option_that_a_source_lacks_is_refused(tmp_path, source, options, message):
    paths = {
        name: tmp_path / value if name in ("transcripts", "audio") else value
        for name, value in options.items()
    }
    with pytest.raises(CorpusError, match=message):
        read_source(source, tmp_path, **paths)
