"""Files that come with what is typed: a path on the wire, and the bytes when somebody reads them.

The socket and the process have the same owner: who sends a path could read the file without them.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from pathlib import Path
from typing import Literal

from bot.cleaning import clean
from bot.errors import MessageGone, PlatformError, StartError, TooLarge
from bot.messages import Attachment

FILE_BYTES = 25 * 2**20
"""The largest file that is loaded: far above what is read of a document (`chat.max_document_bytes`)."""
MEBIBYTE = 2**20
UNKNOWN = "application/octet-stream"


def path_of(file: Path) -> str:
    """The path as the wire has it. Raises StartError if that is no file that can be read."""
    path = str(file.absolute())
    if path != clean(path):
        raise StartError(f"{clean(str(file))}: the name is not UTF-8 text")
    try:
        os.close(_open(path))
    except PlatformError as error:
        raise StartError(str(error)) from error
    return path


def attachment(path: str, kind: Literal["file", "voice"] = "file") -> Attachment:
    """What is known of a file before it is read. Blocks for a moment."""
    try:
        size = Path(path).stat().st_size
    except OSError:  # who reads it will say so
        size = None
    media_type = mimetypes.guess_type(path)[0] or UNKNOWN
    return Attachment(kind=kind, name=Path(path).name, media_type=media_type, size=size, reference=path)


def load(path: str) -> bytes:
    """A file's bytes. Blocks. Raises TooLarge and PlatformError."""
    try:
        with os.fdopen(_open(path), "rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise PlatformError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > FILE_BYTES:  # it has grown since
        raise _too_large(path)
    return data


def _open(path: str) -> int:
    """A descriptor of a regular file that is not too large. Raises PlatformError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would block
    except FileNotFoundError as error:
        raise MessageGone(f"{path}: there is no such file") from error
    except OSError as error:
        raise PlatformError(f"{path}: cannot be read ({error.strerror})") from error
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size <= FILE_BYTES:
        return descriptor
    os.close(descriptor)
    raise _too_large(path) if stat.S_ISREG(found.st_mode) else PlatformError(f"{path}: is not a file")


def _too_large(path: str) -> TooLarge:
    return TooLarge(FILE_BYTES, f"{path}: is larger than {FILE_BYTES // MEBIBYTE} MiB")
