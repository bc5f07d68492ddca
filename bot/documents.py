"""Attachments: which are text documents, how one is read, and what the prompt and the person hear of them."""

from __future__ import annotations

import asyncio
import codecs
import unicodedata
from dataclasses import replace
from hashlib import sha256
from pathlib import PurePath

import structlog

from bot.errors import FloodWait, MessageGone, PlatformError, Told, Unreachable
from bot.messages import Attached, Attachment, StoredMessage
from bot.ports import Fetch, Store
from bot.records import Content, Reading

log = structlog.get_logger(__name__)

READER = "text"
"""`Content.reader`."""
FETCH_SECONDS = 60.0
"""A platform that takes longer for one file counts as away."""
LONGEST_NAME = 80
"""Characters of a file's name that are shown: names in chats are rarely half as long."""
KIB = 1024

_APPLICATIONS = frozenset(
    {
        *("json", "ld+json", "jsonl", "x-jsonl", "ndjson", "x-ndjson", "json5", "xml", "yaml", "x-yaml", "toml"),
        *("csv", "sql", "x-sql", "graphql", "javascript", "x-javascript", "ecmascript", "typescript", "x-typescript"),
        *("x-sh", "x-shellscript", "x-csh", "x-perl", "x-php", "x-httpd-php", "x-python", "x-ruby", "x-lua", "x-tex"),
        *("x-latex", "x-subrip", "x-diff", "x-patch", "x-ini", "x-desktop", "x-troff-man", "rtf", "markdown"),
    }
)
"""Media types `application/...` whose files are text."""
_SYNTAXES = ("+json", "+xml", "+yaml")
"""Suffixes of media types, https://www.iana.org/assignments/media-type-structured-suffix/."""
_SUFFIXES = frozenset(
    {
        *("txt", "text", "md", "markdown", "rst", "adoc", "org", "tex", "bib", "rtf", "log", "srt", "vtt", "po", "eml"),
        *("csv", "tsv", "json", "jsonl", "ndjson", "json5", "xml", "svg", "yaml", "yml", "toml", "ini", "cfg", "conf"),
        *("properties", "env", "desktop", "service", "html", "htm", "xhtml", "css", "scss", "less", "js", "mjs", "cjs"),
        *("ts", "mts", "cts", "jsx", "tsx", "vue", "svelte", "py", "pyi", "ipynb", "rb", "php", "pl", "pm", "lua", "r"),
        *(
            "c",
            "h",
            "cc",
            "cpp",
            "cxx",
            "hh",
            "hpp",
            "cs",
            "java",
            "kt",
            "kts",
            "scala",
            "groovy",
            "gradle",
            "go",
            "rs",
        ),
        *("swift", "m", "mm", "dart", "zig", "nim", "hs", "ml", "mli", "fs", "ex", "exs", "erl", "clj", "lisp", "el"),
        *("scm", "jl", "f90", "pas", "asm", "s", "sh", "bash", "zsh", "fish", "ps1", "bat", "cmd", "sql", "graphql"),
        *(
            "proto",
            "tf",
            "nix",
            "cmake",
            "mk",
            "diff",
            "patch",
            "ics",
            "vcf",
            "gpx",
            "kml",
            "geojson",
            "tcl",
            "vb",
            "v",
        ),
    }
)
_NAMES = frozenset(
    {
        *("makefile", "dockerfile", "containerfile", "jenkinsfile", "vagrantfile", "gemfile", "rakefile", "procfile"),
        *("readme", "license", "licence", "copying", "notice", "authors", "changelog", "changes", "news", "todo"),
        *(".gitignore", ".gitattributes", ".dockerignore", ".editorconfig", ".env", ".bashrc", ".profile", ".npmrc"),
    }
)
"""Names of text files that have no suffix."""
_NOT_YET = {
    "voice": "voice messages are not understood yet",
    "audio": "sound is not understood yet",
    "image": "pictures are not understood yet",
    "video": "videos are not understood yet",
}
"""By `Attachment.kind`, and by what a media type begins with."""
_NO_TEXT = "not a text file"


class _UnreadError(Exception):
    """An attachment cannot be read; the message says why, to go on after "not read"."""


async def read(
    question: StoredMessage, store: Store, fetch: Fetch, max_bytes: int, *, seconds: float = FETCH_SECONDS
) -> StoredMessage:
    """The question with its documents read, and that written down; what was read before is not read again.

    Raises Unreachable if the platform is away, or does not give a file within `seconds`.
    """
    missing = [(number, item) for number, item in enumerate(question.attachments) if item.words is None]
    if not missing:
        return question
    readings = [await _read(number, item.attachment, fetch, max_bytes, seconds) for number, item in missing]
    await store.record_read(question.id, readings)
    items = list(question.attachments)
    for reading in readings:
        words = reading.content.words if reading.content else None
        items[reading.number] = Attached(items[reading.number].attachment, words, reading.unread)
    return replace(question, attachments=tuple(items))


def check(question: StoredMessage) -> None:
    """Raises Told if there is nothing in a message that a model could answer."""
    if question.text.strip() or any(item.words is not None for item in question.attachments):
        return
    if not question.attachments:
        raise Told("There is no text in this message, and text is all that I understand so far.")
    each = ", ".join(f"`{_name(item.attachment)}` ({item.unread})" for item in question.attachments)
    reasons = sorted({item.unread for item in question.attachments})
    raise Told(f"I cannot read this: {each}.", detail=f"attachments not read: {', '.join(reasons)}")


def told(message: StoredMessage) -> str:
    """What a message says to the model: its text, then its documents, each under its name. The same at any time."""
    if not message.attachments:
        return message.text
    return "\n\n".join(part for part in (message.text, *map(_told, message.attachments)) if part)


def unread(message: StoredMessage) -> str:
    """A line for the person about each attachment that the model does not know; empty if it knows all."""
    left = [item for item in message.attachments if item.words is None]
    return "\n".join(f"[`{_name(item.attachment)}`: {_why(item)}]" for item in left)


def summary(message: StoredMessage) -> str:
    """A message's text with the names of what came with it."""
    return " ".join([message.text, *(f"[{_name(item.attachment)}]" for item in message.attachments)]).strip()


def _told(item: Attached) -> str:
    name = _name(item.attachment)
    if item.words is None:
        return f"[{name}: {_why(item)}]"
    return "File {}:\n{}".format(name, item.words.strip("\n"))


def _why(item: Attached) -> str:
    return f"not read, {item.unread}" if item.unread else "not read"


async def _read(number: int, item: Attachment, fetch: Fetch, max_bytes: int, seconds: float) -> Reading:
    try:
        _check_stated(item, max_bytes)
        data = await _load(item, fetch, seconds)
        # Large ones would keep the event loop.
        return Reading(number=number, content=await asyncio.to_thread(_content, data, item, max_bytes))
    except _UnreadError as error:
        return Reading(number=number, content=None, unread=str(error))


def _check_stated(item: Attachment, max_bytes: int) -> None:
    """Whether to fetch a file, by what its platform states. Raises _UnreadError."""
    if item.kind != "file":
        raise _UnreadError(_NOT_YET[item.kind])
    media_type = item.media_type.partition(";")[0].strip().lower()
    family, _, subtype = media_type.partition("/")
    by_type = family == "text" or (family == "application" and subtype in _APPLICATIONS) or subtype.endswith(_SYNTAXES)
    # Windows calls a CSV file a spreadsheet, and TypeScript is a video by its suffix: the name tells too.
    if not (by_type or _is_text_name(item.name)):
        raise _UnreadError(_NOT_YET.get(family, _NO_TEXT))
    _check_size(item.size or 0, max_bytes)


def _is_text_name(name: str) -> bool:
    path = PurePath(name.strip().lower())
    return path.suffix[1:] in _SUFFIXES or path.name in _NAMES


def _check_size(size: int, most: int) -> None:
    if size > most:
        limit = f"{most // KIB} KiB" if most % KIB == 0 else f"{most} bytes"
        raise _UnreadError(f"larger than {limit}")


async def _load(item: Attachment, fetch: Fetch, seconds: float) -> bytes:
    """Raises _UnreadError; Unreachable for what may be over later."""
    try:
        async with asyncio.timeout(seconds):
            return await fetch(item)
    except TimeoutError as error:
        raise Unreachable(f"a file did not come within {seconds:.0f} s") from error
    except FloodWait as error:
        raise Unreachable(str(error)) from error
    except Unreachable:
        raise
    except MessageGone as error:
        raise _UnreadError("no longer there") from error
    except PlatformError as error:
        log.warning("an attachment could not be loaded", error=type(error).__name__)
        log.debug("the platform's words about it", error=str(error))
        raise _UnreadError("it could not be loaded") from error


def _content(data: bytes, item: Attachment, max_bytes: int) -> Content:
    """The words in a file's bytes. Raises _UnreadError."""
    _check_size(len(data), max_bytes)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        words = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadError(_NO_TEXT if b"\0" in data and not wide else "not text in UTF-8 or UTF-16") from error
    if "\0" in words:
        raise _UnreadError(_NO_TEXT)
    if not words.strip():
        raise _UnreadError("empty")
    return Content(
        hash=sha256(data).hexdigest(),
        reader=READER,
        media_type=item.media_type,
        size=len(data),
        words=words.replace("\r\n", "\n"),
    )


def _name(item: Attachment) -> str:
    """A file's name on one line, without control and format characters: it is as untrusted as its words."""
    line = " ".join(item.name.replace("`", "'").split())
    visible = "".join(char for char in line if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return visible[:LONGEST_NAME].strip() or item.kind
