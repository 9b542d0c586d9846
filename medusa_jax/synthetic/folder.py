"""A folder with generated files: whole or not at all, kept where the same one is there already."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from medusa_jax.corpus.msp_layout import SYNTHETIC_NOTE
from medusa_jax.errors import CorpusError
from medusa_jax.files import sync_folder

ASR = "ASR"
"""Folder of the simulated recogniser's transcripts, which the pipeline reads in all splits."""


def write_generated(
    root: Path, marker: Mapping[str, object], write: Callable[[Path], None]
) -> Path:
    """Have `write` fill a folder, mark it with `marker` and move it to `root`; return `root`.

    A folder with an equal marker is kept. Raises `CorpusError` if `root` contains anything else or
    cannot be written.
    """
    if _reusable(root, marker):
        return root
    try:
        _write_whole(root, marker, write)
    except OSError as error:
        # Another process may have written the same corpus meanwhile.
        if not _reusable(root, marker):
            what = f"cannot write the generated corpus: {error.strerror or error}"
            raise CorpusError(
                what, where=root, hint="free some space, or choose another folder"
            ) from error
    return root


def write_plain(path: Path, text: str) -> None:
    """Write a text file of the folder, the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def _reusable(root: Path, marker: Mapping[str, object]) -> bool:
    """True if `root` is the corpus of `marker`, False if it is empty or missing.

    Raises `CorpusError` for anything else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SYNTHETIC_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != marker:
        other = "something else" if found is None else f"another generated corpus: {found}"
        raise CorpusError(
            f"the folder contains {other}",
            where=root,
            hint="choose another folder, or remove this one",
        )
    return True


def _write_whole(root: Path, marker: Mapping[str, object], write: Callable[[Path], None]) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=root.parent, prefix=f".{root.name}.", suffix=".tmp"
    ) as temporary:
        folder = Path(temporary) / "corpus"
        write(folder)
        write_plain(folder / SYNTHETIC_NOTE, json.dumps(marker, indent=1) + "\n")
        folder.replace(root)
        sync_folder(root.parent)
