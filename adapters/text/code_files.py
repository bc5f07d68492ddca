"""Long blocks of code become files, with a word in their place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from adapters.text.fences import OPENING, TICKS, TILDES, Fence, Place, dedent
from bot.messages import File

_SUFFIXES = {
    "c": ("c", "h"),
    "cpp": ("cpp", "c++", "cc", "hpp"),
    "cs": ("csharp", "cs", "c#"),
    "css": ("css",),
    "csv": ("csv",),
    "diff": ("diff", "patch"),
    "go": ("go", "golang"),
    "html": ("html", "htm"),
    "java": ("java",),
    "js": ("javascript", "js", "jsx", "node"),
    "json": ("json", "jsonc", "json5"),
    "kt": ("kotlin", "kt"),
    "lua": ("lua",),
    "md": ("markdown", "md"),
    "php": ("php",),
    "pl": ("perl", "pl"),
    "ps1": ("powershell", "ps1"),
    "py": ("python", "py", "python3", "py3"),
    "r": ("r",),
    "rb": ("ruby", "rb"),
    "rs": ("rust", "rs"),
    "sh": ("bash", "sh", "shell", "zsh"),
    "sql": ("sql", "sqlite", "postgresql", "mysql"),
    "swift": ("swift",),
    "tex": ("latex", "tex"),
    "toml": ("toml",),
    "ts": ("typescript", "ts", "tsx"),
    "xml": ("xml", "svg"),
    "yaml": ("yaml", "yml"),
}
"""Of a file's name, by what models call the language. What is not here is `txt`: a name is never the model's own."""
_SUFFIX = {name: suffix for suffix, names in _SUFFIXES.items() for name in names}
_QUOTE = re.compile(r"[ \t]*> ?")


def with_code_files(markdown: str, least: int) -> tuple[str, tuple[File, ...]]:
    """The text without its closed blocks of code of `least` lines or more, and those as files. `least` 0: all stay."""
    if least <= 0 or not (TICKS in markdown or TILDES in markdown):
        return markdown, ()
    shown: list[str] = []
    files: list[File] = []
    for fence, lines in _runs(markdown.split("\n")):
        code = lines[1:-1]
        if fence is None or len(code) < least:
            shown += lines
            continue
        files.append(_file(fence, code, len(files) + 1))
        found = OPENING.match(lines[0])
        assert found is not None, "a block begins with the line that opens it"
        shown.append(f"{found['prefix']}(see `{files[-1].name}`)")
    return "\n".join(shown), tuple(files)


def _runs(lines: Iterable[str]) -> Iterator[tuple[Fence | None, list[str]]]:
    """Closed blocks with their fences, and what is between them (None). A block that nothing closes is text."""
    place, run = Place(), list[str]()
    fence: Fence | None = None
    for line in lines:
        before, place = place.before(line), place.after(line)
        if fence is not None and before.fence is None:  # its quote or list item was over before it was closed
            yield None, run
            fence, run = None, []
        if fence is None and place.fence is not None:
            yield None, run
            fence, run = place.fence, []
        run.append(line)
        if fence is not None and place.fence is None:
            yield fence, run
            fence, run = None, []
    yield None, run


def _file(fence: Fence, code: Iterable[str], number: int) -> File:
    language = fence.info.split(maxsplit=1)[0].lower() if fence.info else ""
    name = f"code{'' if number == 1 else f'-{number}'}.{_SUFFIX.get(language, 'txt')}"
    text = "".join(f"{_bare(line, fence)}\n" for line in code)
    return File(name, "text/plain", text.encode(errors="replace"))


def _bare(line: str, fence: Fence) -> str:
    """A line of code without what it has of the quote or the list item around it."""
    for _ in range(fence.quotes):
        line = _QUOTE.sub("", line, count=1)
    return dedent(line.rstrip("\r"), fence.indent)
