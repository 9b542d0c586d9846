"""Whether an audio file is as long as it says: libsndfile reads most files that were cut short as shorter ones, without a word."""

import os
from pathlib import Path
from typing import BinaryIO

from medusa_jax.errors import AudioError

_OGG_PAGE = 27 + 255 + 255 * 255  # the longest there can be
_OGG_LAST = 4


def refuse_truncated(path: Path) -> None:
    """Raise `AudioError` for an empty file, and for a WAV, RF64, W64, AIFF, AU or OGG file that ends before its time.

    FLAC and MP3 show it when they are decoded. Raises `OSError` if the file cannot be read.
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
    # A file of an odd length is padded with a byte that some programs count and do not write.
    if size < _promised(head) - 1:
        raise AudioError(f"truncated: {size} bytes of {_promised(head)}", where=path, hint=hint)


def _promised(head: bytes) -> int:
    """Bytes that the file should have by its own header; 0 where that does not say."""
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
    # Programs that write into a pipe do not know the size and promise 0 or nearly 2 or 4 GiB.
    return promised if 8 < promised < 0x7FFFF000 or kind == b"RF64" else 0


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Whether the file's last page is whole and says that it is the stream's last."""
    file.seek(max(0, size - _OGG_PAGE))
    tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & _OGG_LAST) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
