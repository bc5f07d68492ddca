"""Text documents: which attachments are one, and what stands in it."""

from __future__ import annotations

import codecs
from hashlib import sha256
from pathlib import PurePath

from bot.errors import UnreadError
from bot.messages import Attachment
from bot.records import Content

READER = "text"
"""`Content.reader`."""
KIB = 1024
NO_TEXT = "not a text file"

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


def is_text(item: Attachment) -> bool:
    """Whether an attachment is a text document, by what its platform states."""
    media_type = item.media_type.partition(";")[0].strip().lower()
    family, _, subtype = media_type.partition("/")
    by_type = family == "text" or (family == "application" and subtype in _APPLICATIONS) or subtype.endswith(_SYNTAXES)
    # Windows calls a CSV file a spreadsheet, and TypeScript is a video by its suffix: the name tells too.
    return by_type or _is_text_name(item.name)


def _is_text_name(name: str) -> bool:
    path = PurePath(name.strip().lower())
    return path.suffix[1:] in _SUFFIXES or path.name in _NAMES


def check_size(size: int, most: int) -> None:
    """Raises UnreadError."""
    if size > most:
        limit = f"{most // KIB} KiB" if most % KIB == 0 else f"{most} bytes"
        raise UnreadError(f"larger than {limit}")


def content(data: bytes, item: Attachment, max_bytes: int) -> Content:
    """The words in a file's bytes. Raises UnreadError."""
    check_size(len(data), max_bytes)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        words = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadError(NO_TEXT if b"\0" in data and not wide else "not text in UTF-8 or UTF-16") from error
    if "\0" in words:
        raise UnreadError(NO_TEXT)
    if not words.strip():
        raise UnreadError("empty")
    return Content(
        hash=sha256(data).hexdigest(),
        reader=READER,
        media_type=item.media_type,
        size=len(data),
        words=words.replace("\r\n", "\n"),
    )
