"""`hearth transcribe` and voice in the terminal, with the embedded models: what is printed is read by others' parsers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import srt
import webvtt

from bot.config import EMBEDDED_SPEECH_MODEL
from tests import speech
from tests.e2e.conftest import CommandLine
from tests.recordings import recording

TEXT = "what is my name"
NEVER_TOLD = "I do not know your name"


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.ogg"
    path.write_bytes(speech.opus(TEXT))
    return path


def test_the_words_are_printed_and_nothing_else(hearth: CommandLine, note: Path) -> None:
    done = hearth("transcribe", str(note))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{TEXT}\n", "")


def test_json(hearth: CommandLine, note: Path) -> None:
    assert json.loads(hearth.says("transcribe", str(note), "--format", "json")) == {"text": TEXT}


def test_verbose_json(hearth: CommandLine, note: Path) -> None:
    """As the OpenAI API has it."""
    told = json.loads(hearth.says("transcribe", str(note), "--format", "verbose_json", "--words"))
    assert (told["task"], told["language"], told["text"]) == ("transcribe", "english", TEXT)
    assert 0.5 < told["duration"] < 3
    [segment] = told["segments"]
    assert set(segment) == {
        *("id", "seek", "start", "end", "text", "tokens", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }
    assert [word["word"] for word in told["words"]] == TEXT.split()
    assert "words" not in json.loads(hearth.says("transcribe", str(note), "--format", "verbose_json"))


def test_subtitles_are_read_by_others(hearth: CommandLine, note: Path) -> None:
    [cue] = srt.parse(hearth.says("transcribe", str(note), "--format", "srt"))
    assert cue.content == TEXT
    assert 0 <= cue.start.total_seconds() < cue.end.total_seconds() < 3
    [caption] = webvtt.from_buffer(io.StringIO(hearth.says("transcribe", str(note), "--format", "vtt"))).captions
    assert caption.text == TEXT


def test_several_are_read_and_the_bad_ones_told(hearth: CommandLine, note: Path, tmp_path: Path) -> None:
    (tmp_path / "text.ogg").write_text("no sound")
    data = recording("opus", 4.0)
    (tmp_path / "cut.opus").write_bytes(data[: len(data) // 2])
    done = hearth(
        "transcribe", str(note), str(tmp_path / "text.ogg"), str(tmp_path / "none.ogg"), str(tmp_path / "cut.opus")
    )
    assert done.returncode == 1
    assert done.stdout == f"{note}:\n{TEXT}\n\n{tmp_path}/cut.opus:\n\n\n"
    first, second, third = done.stderr.splitlines()
    assert first.startswith(f"hearth: {tmp_path}/text.ogg: not a recording that I can read")
    assert second == f"hearth: {tmp_path}/none.ogg: No such file or directory"
    assert third.startswith(f"hearth: {tmp_path}/cut.opus: the recording is damaged after 0:0")


def test_of_a_damaged_one_the_words_are_printed_and_the_exit_code_tells(hearth: CommandLine, note: Path) -> None:
    data = speech.wav(TEXT)
    header = bytearray(data[:44])
    header[4:8] = (len(data) * 2).to_bytes(4, "little")  # of which half is missing
    note.write_bytes(header + data[44:])
    done = hearth("transcribe", str(note))
    assert (done.returncode, done.stdout) == (1, f"{TEXT}\n")
    assert done.stderr.startswith(f"hearth: {note}: the recording is damaged after 0:0")


def test_what_cannot_be_read_is_told_before_it_is(hearth: CommandLine, tmp_path: Path) -> None:
    """A file of a size that no memory has."""
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(2**40)
    done = hearth("transcribe", str(large), str(tmp_path), "/dev/zero")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"hearth: {large}: larger than 25 MiB",
        f"hearth: {tmp_path}: Is a directory",
        "hearth: /dev/zero: larger than 25 MiB",
    ]


def test_each_into_a_file_of_its_own(hearth: CommandLine, note: Path, tmp_path: Path) -> None:
    other = tmp_path / "note.wav"
    other.write_bytes(speech.wav(TEXT))
    folder = tmp_path / "out" / "deep"
    done = hearth("transcribe", str(note), str(other), "--format", "srt")
    assert (done.returncode, "--output FOLDER" in done.stderr) == (2, True)
    told = hearth.says("transcribe", str(note), str(other), "--format", "srt", "--output", str(folder))
    assert told.split() == [str(folder / "note.ogg.srt"), str(folder / "note.wav.srt")]
    assert hearth.says("transcribe", str(note), "--output", str(folder)).split() == [str(folder / "note.txt")]
    assert (folder / "note.txt").read_text() == f"{TEXT}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--language", "xx"), "does not know the language 'xx'"),
        (("--model", "no/where"), "the speech model no/where cannot be loaded"),
        (("--model", "/no/folder"), "the speech model /no/folder cannot be loaded"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    hearth: CommandLine, note: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = hearth("transcribe", str(note), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_words_need_their_format(hearth: CommandLine, note: Path) -> None:
    done = hearth("transcribe", str(note), "--words")
    assert (done.returncode, "--words needs --format verbose_json" in done.stderr) == (2, True)


def test_a_spoken_question_is_answered_in_the_terminal(hearth: CommandLine, note: Path) -> None:
    """By both embedded models, with and without a process that runs."""
    told = hearth.says("chat", given=f"/voice {note}\nMy name is Gwendolyn.\n/voice {note}\n/quit\n")
    lines = [line for line in told.splitlines() if line]
    assert lines[0] == f"> {TEXT}"
    assert NEVER_TOLD in lines[1]
    assert lines[3] == f"> {TEXT}"
    assert "Gwendolyn" in lines[4]
    with hearth.running():
        assert "Gwendolyn" in hearth.says("chat", given=f"/voice {note}\n")


def test_a_file_that_is_not_there_is_told_and_the_chat_goes_on(hearth: CommandLine) -> None:
    told = hearth.says("chat", given="/voice none.ogg\n/voice\n/help\n/quit\n")
    assert "none.ogg: there is no such file" in told
    assert "/voice FILE sends a recording" in told
    assert "/new - starts a new conversation" in told


def test_check_says_what_would_hear(hearth: CommandLine, tmp_path: Path) -> None:
    assert "hearth-demo-speech" in hearth.says("check")
    hearth.settings = {"HEARTH_SPEECH__MODEL": str(tmp_path)}
    done = hearth("check")
    assert done.returncode == 1
    assert "model.bin, config.json, tokenizer.json missing" in done.stdout


def test_what_cannot_translate_leaves_that_to_another(hearth: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "my-turbo").symlink_to(EMBEDDED_SPEECH_MODEL)
    note = tmp_path / "note.ogg"
    note.write_bytes(speech.opus("guten morgen", "de"))
    hearth.settings = {"HEARTH_SPEECH__MODEL": str(tmp_path / "my-turbo")}
    done = hearth("transcribe", str(note), "--translate")
    assert (done.returncode, done.stdout) == (1, "")
    assert "The speech model my-turbo was not trained to translate." in done.stderr
    hearth.settings["HEARTH_SPEECH__TRANSLATION_MODEL"] = "demo"
    assert hearth.says("transcribe", str(note), "--translate") == "good morning\n"
    assert hearth.says("transcribe", str(note)) == "guten morgen\n"
