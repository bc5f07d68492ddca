"""Forms that bring a file (multipart/form-data, RFC 7578), within bounds of size, number and time.

A file goes to the disk as it comes, so that who sends slowly, or waits for a turn, holds no memory; it has no name there,
and is gone with its request.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import structlog
from aiohttp import web

from adapters.web.openai.faults import SERVER, Fault, Refused, refused
from adapters.web.openai.multipart import BadForm, Parts, Read, boundary_of
from bot.errors import BadRequest

log = structlog.get_logger(__name__)

SECONDS = 300.0
"""A form has so long to arrive: 90 KB a second for the largest."""
MOST_PARTS = 256
MOST_TEXT = 64 * 1024
"""Bytes of all fields together that are no file, each with its name: what Whisper takes of a prompt is a hundredth of it."""
MOST_AROUND = 256 * 1024
"""Bytes of a body beside its file: the other fields, and what stands between the parts."""
BLOCK = 2**20
"""Bytes of a file that are in memory while it comes; a smaller one never lies on a disk."""
MOST_ECHOED = 64
"""Characters of what came that are said again in an error."""


class Upload:
    """The bytes of a file, as they come."""

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most
        self._coming = bytearray()
        self._file: BinaryIO | None = None

    async def add(self, chunk: bytes) -> None:
        """The next bytes. Raises Refused."""
        self.size += len(chunk)
        if self.size > self._most:
            raise too_large(self._most)
        self._coming += chunk
        if len(self._coming) >= BLOCK:
            block, self._coming = self._coming, bytearray()
            try:
                if self._file is None:
                    self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - it outlives this call
                await asyncio.to_thread(self._file.write, block)
            except OSError as error:
                log.error("an upload cannot be kept for its turn", reason=str(error))
                raise Refused(
                    Fault(status=503, message="There is no room for the file just now.", type=SERVER)
                ) from error

    async def read(self) -> bytes:
        """All of them, once: then they are here no more."""
        if self._file is None:
            data = bytes(self._coming)
        else:
            data = await asyncio.to_thread(_whole, self._file, self._coming)
        self.close()
        return data

    def close(self) -> None:
        """Let go of what is there."""
        self._coming = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


def _whole(file: BinaryIO, rest: bytearray) -> bytes:
    file.write(rest)
    file.seek(0)
    return file.read()


@dataclass(frozen=True, slots=True)
class Form:
    """What came."""

    texts: Sequence[tuple[str, str]]
    """Names and values, in order."""
    file: Upload | None


@asynccontextmanager
async def read(request: web.Request, *, file: str, most: int) -> AsyncIterator[Form]:
    """A request's form. The field `file` may bring a file of at most `most` bytes, which is gone at the end. Raises Refused."""
    if request.content_type != "multipart/form-data":
        raise refused(
            415, "The body must be a form (Content-Type: multipart/form-data).", code="unsupported_media_type"
        )
    upload = Upload(most)
    try:
        try:
            parts = Parts(_bounded(request, most), boundary_of(request.headers["Content-Type"]))
            async with asyncio.timeout(SECONDS):
                form = await _form(parts, file, upload)
        except TimeoutError as error:
            raise refused(408, "The request's body takes too long to arrive.") from error
        except BadForm as error:
            words = f"We could not parse your request: its body is no multipart/form-data ({error})."
            raise refused(400, words) from error
        yield form
    finally:
        upload.close()


def fields(form: Form, file: str, lists: Collection[str]) -> dict[str, Any]:
    """A form as an object, its file included; `lists`: the fields that may come more than once. Raises BadRequest.

    Empty fields are left out, for so SDKs write null; `name[]` is an item of a list, `name[key]` a part of an object.
    """
    found: dict[str, Any] = {}
    for written, value in form.texts:
        name, bracket, key = written.removesuffix("]").partition("[")
        if name in lists and (not key or key.isdecimal()):
            if value:
                found.setdefault(name, []).append(value)
        elif bracket:
            found[name] = {key: value}
        elif name in found:
            raise BadRequest(f"Invalid '{name}': it was given twice.", param=name)
        elif value:
            found[name] = value
    if form.file is not None:
        if file in found:
            raise BadRequest(f"Invalid '{file}': it was given twice.", param=file)
        found[file] = form.file
    return found


def too_large(most: int) -> Refused:
    """For a file of more bytes."""
    return refused(413, f"Maximum content size limit ({most} bytes) exceeded.", param="file")


def _bounded(request: web.Request, most: int) -> Read:
    """Reads a body that must end, with all that stands around its file. Raises Refused."""
    left = most + MOST_AROUND
    try:
        length = request.content_length or 0
    except ValueError as error:  # thousands of zeros before it
        raise refused(400, "The header Content-Length is no number.") from error
    if length > left:
        raise too_large(most)

    async def bounded(size: int) -> bytes:
        nonlocal left
        data = await request.content.read(size)
        left -= len(data)
        if left < 0:
            raise too_large(most)
        return data

    return bounded


async def _form(parts: Parts, file: str, upload: Upload) -> Form:
    texts: list[tuple[str, str]] = []
    left, number, found = MOST_TEXT, 0, False
    while (part := await parts.next()) is not None:
        number += 1
        name = part.name[:MOST_ECHOED]
        if number > MOST_PARTS:
            raise refused(400, f"The form has too many fields: at most {MOST_PARTS}.")
        if not part.is_plain:
            raise refused(400, "The parts of the form must not be encoded.", param=name)
        if not part.is_file:
            value = await _text(parts, name, left)
            left -= len(name) + len(value.encode())
            texts.append((name, value))
        elif name != file or found:
            raise refused(400, f"A file was sent as {name!r}: one file belongs into {file!r}.", param=name)
        else:
            found = True
            while chunk := await parts.chunk():
                await upload.add(chunk)
    return Form(texts, upload if found else None)


async def _text(parts: Parts, name: str, most: int) -> str:
    value = bytearray()
    while chunk := await parts.chunk():
        value += chunk
        if len(value) > most:
            raise refused(400, f"The field {name!r} is too long.", param=name)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise refused(400, f"The field {name!r} is no text in UTF-8.", param=name) from error
