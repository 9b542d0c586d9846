"""Recognition of corpus folders, and the options of each source."""

import pytest
from small_iemocap import write_iemocap
from small_meld import write_meld
from small_msp import RATINGS, UTTERANCES

from medusa_jax.corpus.iemocap import LABEL_SETS
from medusa_jax.corpus.msp_layout import write_msp_podcast_labels
from medusa_jax.corpus.sources import open_corpus, read_source, recognise
from medusa_jax.errors import CorpusError


def test_folders_are_recognised(tmp_path, shared_data, tmp_path_factory):
    write_msp_podcast_labels(tmp_path, RATINGS, UTTERANCES)
    assert recognise(tmp_path) == "msp-podcast"
    assert recognise(shared_data / "crema_d_votes") == "crema-d"
    assert recognise(shared_data / "ravdess") == "ravdess"
    assert recognise(shared_data / "meld_text") == "meld"
    with pytest.raises(CorpusError, match="not recognised"):
        recognise(tmp_path_factory.mktemp("empty"))
    with pytest.raises(CorpusError, match="does not exist"):
        open_corpus(tmp_path / "nowhere")


def test_conversations_are_recognised(tmp_path):
    assert recognise(write_meld(tmp_path / "meld")) == "meld"
    root = write_iemocap(tmp_path / "iemocap", sessions=(2,), scenes=("impro01",))
    assert recognise(root) == "iemocap"
    assert open_corpus(root).classes == LABEL_SETS[6]


def test_label_sets_reach_the_reader(tmp_path):
    root = write_iemocap(tmp_path, sessions=(1,), scenes=("impro01",), sound=False)
    merged = read_source("iemocap", root, label_set=4, merge_excited=True)
    apart = read_source("iemocap", root, label_set=4)
    assert (merged.classes, apart.classes) == (LABEL_SETS[4], LABEL_SETS[4])
    assert (merged.labels == 1).sum() == 2 * (apart.labels == 1).sum() == 2


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
