"""The screen of `hearth chat`: a line to type in, the answer as it grows, Ctrl-C that stops the answer only."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TextIO

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import InMemoryHistory

from adapters.console.client import Client
from adapters.console.files import path_of
from adapters.console.interrupts import Interrupts, interrupts, stopping
from bot.errors import StartError

_CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"} | {0x0D: ""}
"""C0, DEL and C1 (ECMA-48): escape sequences begin with one of them."""
GIVEN_UP = "\nNo Hearth process answers. If your message was received it is answered later: /history shows the answer."
LEAVE = {"/quit", "/exit"}
RED, PLAIN = "\x1b[31m", "\x1b[0m"
"""Select Graphic Rendition (ECMA-48, section 8.3.117)."""
YOU = "<ansigreen><b>you </b></ansigreen>"
HEARTH = "<ansiblue><b>hearth </b></ansiblue>"
VOICE = "/voice"
WELCOME = """\
<b>Hearth</b>  conversation <b>{}</b>
/help lists the commands, /voice FILE sends a recording. Ctrl-C stops an answer, Ctrl-D leaves.
"""


class Screen:
    """Writes the states of an answer as text that only grows; what is taken back is written anew on a fresh line.

    On a terminal the words about a failure are red.
    """

    def __init__(self, out: TextIO, folder: Path) -> None:
        self._out = out
        self._folder = folder
        self._shown: dict[int, str] = {}
        self._fresh = True
        """Whether the line is empty but for the prompt."""

    def show(self, state: dict[str, Any]) -> None:
        """Show the new state of a message."""
        number, text = state["message"], printable(state["text"])
        before = self._shown.get(number)
        if before is not None and text.startswith(before):
            new = text[len(before) :]
        else:
            new = ("" if self._fresh else "\n") + text
        self._write(RED + new + PLAIN if new and state["failed"] and self._out.isatty() else new)
        self._shown[number] = text
        for file in state["files"]:
            self._write(f"\n[{save(file, self._folder)}]")
        if state["final"]:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
        self._fresh = text.endswith("\n") if text else self._fresh


def printable(text: str) -> str:
    """The text without what would command a terminal: control characters but for tab and line end become U+FFFD."""
    return text.translate(_CONTROLS)


def save(file: dict[str, str], folder: Path) -> Path:
    """Write a file of an answer into a folder, under a name that is free; returns its path."""
    name = Path(Path(file["name"]).name)
    target, number = folder / name, 1
    while target.exists():
        target, number = folder / f"{name.stem}-{number}{name.suffix}", number + 1
    target.write_bytes(base64.b64decode(file["data"]))
    return target


class CommandCompleter(Completer):
    """Completes `/na` to `/name`, with the table's help beside it."""

    def __init__(self, commands: Iterable[dict[str, str]]) -> None:
        self._commands = list(commands)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Commands are at the beginning of a line only."""
        typed = document.text_before_cursor
        if not typed.startswith("/") or " " in typed:
            return
        for command in [*self._commands, {"name": VOICE[1:], "help": "sends a recording"}]:
            if command["name"].startswith(typed[1:]):
                yield Completion("/" + command["name"], start_position=-len(typed), display_meta=command["help"])


async def converse(client: Client, conversation: str) -> None:
    """Talk until Ctrl-D: a pleasant screen on a terminal, plain lines from a pipe or a file."""
    if _interactive():
        await _on_screen(client, conversation)
    else:
        await _by_lines(client, conversation)


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


async def answer(client: Client, conversation: str, text: str, pressed: Interrupts) -> None:
    """Ask and show the answer; Ctrl-C stops it, or the wait for a process that gives it."""
    screen = Screen(sys.stdout, Path.cwd())
    try:
        text, recordings = _spoken(text)
    except StartError as error:
        print_formatted_text(str(error))
        return
    with stopping(client, conversation, pressed) as given_up:
        async with aclosing(client.ask(conversation, text, recordings=recordings)) as states:
            async for state in states:
                screen.show(state)
    if given_up():
        print_formatted_text(GIVEN_UP)


def _spoken(typed: str) -> tuple[str, list[str]]:
    """What is sent for `/voice FILE`: no text, and the file's path. Raises StartError if it cannot be read."""
    command, _, name = typed.strip().partition(" ")
    if command != VOICE:
        return typed, []
    if not name.strip():
        raise StartError(f"{VOICE} FILE sends a recording, for example {VOICE} question.ogg")
    return "", [path_of(Path(name.strip()).expanduser())]


async def _on_screen(client: Client, conversation: str) -> None:
    completer = CommandCompleter(await client.commands())
    line = await client.line(conversation)
    asked = InMemoryHistory([message["text"] for message in line if message["role"] == "user"])
    prompt: PromptSession[str] = PromptSession(history=asked, completer=completer)
    print_html(WELCOME, conversation)
    _show_last(line)
    with interrupts() as pressed:
        while True:
            try:
                text = await prompt.prompt_async(HTML(YOU), handle_sigint=False)
            except KeyboardInterrupt:  # at the prompt Ctrl-C is a key
                continue
            except EOFError:
                return
            if text.strip() in LEAVE:
                return
            if text.strip():
                print_html(HEARTH, end="")
                await answer(client, conversation, text, pressed)


def _show_last(line: list[dict[str, str]]) -> None:
    """The end of the conversation, with the answer that was made while nobody looked."""
    for message in line[-2:]:
        who = YOU if message["role"] == "user" else HEARTH
        print_html(who, end="")
        print_formatted_text(printable(message["text"]))


async def _by_lines(client: Client, conversation: str) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() in LEAVE:
            return
        if line.strip():
            with interrupts() as pressed:
                await answer(client, conversation, line.rstrip("\n"), pressed)


def print_html(markup: str, *values: str, end: str = "\n") -> None:
    """Print prompt_toolkit's markup; the values are escaped."""
    print_formatted_text(HTML(markup).format(*values), end=end)
