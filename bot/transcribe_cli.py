"""`hearth transcribe`: recordings -> what is said in them, with one engine for all of them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.config import SpeechConfig, load
from bot.errors import StartError, Told, UnreadError
from bot.transcription import Audio, Detected, Task, TranscribeOptions, clock
from bot.transcripts import Format, Transcript, written

if TYPE_CHECKING:
    from bot.speech.decode import AudioLimits
    from bot.speech.models import SpeechModels

Seen = Callable[[float], None]
"""Told how many seconds of a recording were heard so far."""


SUFFIXES = {
    Format.TEXT: ".txt",
    Format.JSON: ".json",
    Format.SRT: ".srt",
    Format.VTT: ".vtt",
    Format.VERBOSE_JSON: ".json",
}
TOGETHER = {Format.TEXT, Format.JSON}
"""Formats of which several may stand in one output, one behind the other."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    options: TranscribeOptions
    model: str | None
    form: Format
    folder: Path | None
    headed: bool
    """Each is printed under its name."""
    whole_names: bool
    """Two files differ only by their suffix."""


def transcribe(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings, in any of the usual formats.")],
    *,
    form: Annotated[Format, typer.Option("--format", help="How the words are written.")] = Format.TEXT,
    language: Annotated[
        str | None, typer.Option(help="The language that is spoken, such as en; left out, the model finds out.")
    ] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Write the words in English.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Another model than the configured one: a name, a directory or OWNER/NAME.")
    ] = None,
    words: Annotated[
        bool, typer.Option("--words", help="With --format verbose_json: tell when each word is said.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write a file for each recording there, of the same name.")
    ] = None,
) -> None:
    """Write down what is said in recordings.

    What is wrong with one is told on standard error, and the exit code is 1, also where the words of a damaged one are
    printed as far as it goes.
    """
    from bot.app import configure_logging

    if words and form is not Format.VERBOSE_JSON:
        raise typer.BadParameter("--words needs --format verbose_json: the other formats have no place for them")
    if len(files) > 1 and output is None and form not in TOGETHER:
        raise typer.BadParameter(f"several recordings do not fit into one {form} file; --output FOLDER writes one each")
    if output is not None and len({file.name for file in files}) < len(files):
        raise typer.BadParameter("two recordings have the same name: one would be written over the other")
    config = load(context.obj, os.environ)
    configure_logging(config.log, quiet=True)
    task = Task.TRANSLATE if translate else Task.TRANSCRIBE
    options = TranscribeOptions(language=language or config.speech.language or None, task=task, words=words)
    headed = len(files) > 1 and form is Format.TEXT
    model = model or (config.speech.translator if translate else None)
    wanted = _Wanted(options, model, form, output, headed, len({file.stem for file in files}) < len(files))
    if not asyncio.run(_all(files, config.speech, config.data_dir, wanted)):
        raise typer.Exit(1)


async def _all(files: Sequence[Path], config: SpeechConfig, data_dir: Path, wanted: _Wanted) -> bool:
    """Whether every file could be read, and whole. Raises HearthError for what is wrong with the model or what is asked of it."""
    from bot.speech.decode import AudioLimits, Decoder
    from bot.speech.models import SpeechModels

    limits = AudioLimits(config.max_duration, config.max_bytes)
    decode, speech, good = Decoder(limits), SpeechModels(config, data_dir), True
    try:
        for file in files:
            try:
                audio = await decode(await asyncio.to_thread(_bytes, file, limits))
                good &= audio.damaged_after is None
                await _one(file, audio, speech, wanted)
            except (UnreadError, OSError) as error:
                good = False
                print(f"hearth: {file}: {_why(error)}", file=sys.stderr)
    finally:
        await speech.aclose()
    return good


def _bytes(file: Path, limits: AudioLimits) -> bytes:
    """What is in a file. Of one that states no size, such as a pipe, no more than shows that it is too large."""
    with file.open("rb") as opened:
        limits.check_size(os.fstat(opened.fileno()).st_size)
        return opened.read(limits.max_bytes + 1)


async def _one(file: Path, audio: Audio, speech: SpeechModels, wanted: _Wanted) -> None:
    if audio.damaged_after is not None:
        print(f"hearth: {file}: the recording is damaged after {clock(audio.damaged_after)}", file=sys.stderr)
    with _bar(file.name, audio.duration) as seen:
        transcript = await _heard(audio, speech, wanted, seen)
    text = written(transcript, wanted.form, words=wanted.options.words)
    if wanted.folder is None:
        print(f"{file}:\n{text}" if wanted.headed else text, end="\n" if wanted.headed else "", flush=True)
        return
    wanted.folder.mkdir(parents=True, exist_ok=True)
    target = wanted.folder / ((file.name if wanted.whole_names else file.stem) + SUFFIXES[wanted.form])
    target.write_text(text, "utf-8")
    print(target)


async def _heard(audio: Audio, speech: SpeechModels, wanted: _Wanted, seen: Seen) -> Transcript:
    """Raises HearthError, in words for who typed the command."""
    language, segments = "", []
    try:
        async with aclosing(speech.transcribe(audio, wanted.options, model=wanted.model)) as heard:
            async for each in heard:
                if isinstance(each, Detected):
                    language = each.language
                else:
                    segments.append(each)
                    seen(each.end)
    except Told as error:
        raise StartError(str(error)) from error
    return Transcript(segments=segments, language=language, duration=audio.duration, task=wanted.options.task)


def _bar(what: str, seconds: float) -> _Bar | nullcontext[Seen]:
    return _Bar(what, seconds) if sys.stderr.isatty() else nullcontext(lambda _: None)


class _Bar:
    """A bar on the terminal, in seconds of the recording."""

    def __init__(self, what: str, seconds: float) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(what, total=seconds)

    def __enter__(self) -> Seen:
        self._progress.start()
        return lambda done: self._progress.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _why(error: UnreadError | OSError) -> str:
    if isinstance(error, UnreadError):
        return error.words
    return error.strerror or str(error)
