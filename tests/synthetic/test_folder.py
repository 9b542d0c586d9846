"""A generated folder is whole or not there, and no other folder is touched."""

import json

import pytest

from medusa_jax.errors import CorpusError
from medusa_jax.synthetic.folder import write_generated, write_plain

MARKER = {"size": 3, "classes": ["a", "b"]}


def write(folder):
    folder.mkdir()
    write_plain(folder / "words.txt", "one\ntwo\n")


def refuse(folder):
    raise AssertionError("written again")


def test_the_folder_is_written_once_and_marked(tmp_path):
    root = tmp_path / "below" / "corpus"
    assert write_generated(root, MARKER, write) == root
    assert json.loads((root / "synthetic.json").read_text()) == MARKER
    assert (root / "words.txt").read_bytes() == b"one\ntwo\n"
    assert write_generated(root, MARKER, refuse) == root
    with pytest.raises(CorpusError, match="another generated corpus"):
        write_generated(root, {**MARKER, "size": 4}, refuse)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_unfinished_folder_leaves_nothing(tmp_path, error):
    def stop(folder):
        write(folder)
        raise error

    with pytest.raises((CorpusError, KeyboardInterrupt)):
        write_generated(tmp_path / "corpus", MARKER, stop)
    assert list(tmp_path.iterdir()) == []
