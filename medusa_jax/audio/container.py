"""Check of an audio file's length against its header.

libsndfile reads most truncated files as shorter ones, without an error.
"""

import os
from pathlib import Path
from typing import BinaryIO

from medusa_jax.errors import AudioError

_OGG_PAGE = 27 + 255 + 255 * 255  # the longest possible page
_OGG_LAST = 4


def refuse_truncated(path: Path) -> None:
    """Raise `AudioError` for an empty file or a truncated WAV, RF64, W64, AIFF, AU or OGG file.

    Truncated FLAC and MP3 files are found by decoding. Raises `OSError` if the file cannot be
    read.
    """
    with open(path, "rb") as file:
        head = file.read(40)
        size = file.seek(0, os.SEEK_END)
        ends = _ogg_ends(file, size) if head.startswith(b"OggS") else True
    hint = "copy it again from its source"
    if size == 0:
        raise AudioError("the audio file is empty", where=path, hint=hint)
    if not ends:
        raise AudioError(
            "truncated: the last page of the OGG stream is missing", where=path, hint=hint
        )
    # Some programs count the padding byte of an odd length but do not write it.
    if size < _promised(head) - 1:
        raise AudioError(f"truncated: {size} bytes of {_promised(head)}", where=path, hint=hint)


def _promised(head: bytes) -> int:
    """Size in bytes that the header promises; 0 if unknown."""
    kind = head[:4]
    if kind == b"RIFF":
        promised = 8 + int.from_bytes(head[4:8], "little")
    elif kind == b"FORM":
        promised = 8 + int.from_bytes(head[4:8], "big")
    elif kind == b"RF64":
        promised = 8 + int.from_bytes(head[20:28], "little") if head[12:16] == b"ds64" else 0
    elif kind == b"riff":  # W64
        return int.from_bytes(head[16:24], "little")
    elif kind == b".snd":
        promised = int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big")
    else:
        return 0
    # A program that writes into a pipe promises 0 or nearly 2 or 4 GiB.
    return promised if 8 < promised < 0x7FFFF000 or kind == b"RF64" else 0


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """True if the last page of the file is whole and marked as the last of its stream."""
    file.seek(max(0, size - _OGG_PAGE))
    tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & _OGG_LAST) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
