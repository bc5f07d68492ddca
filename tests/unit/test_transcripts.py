"""What was heard, written in each format, and read by others' parsers."""

from __future__ import annotations

import io
import json
import re

import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from bot.languages import NAMES
from bot.transcription import Segment, Word, clock
from bot.transcripts import Format, Transcript, written

TALK = Transcript(
    segments=(
        Segment(
            start=0.0,
            end=1.5,
            text=" Good morning.",
            words=(Word(0.0, 0.7, " Good", 0.9), Word(0.7, 1.5, " morning.", 0.8)),
        ),
        Segment(start=3661.0, end=3662.25, text=" A < B & C --> D", tokens=(1, 2), temperature=0.2, avg_logprob=-0.5),
    ),
    language="en",
    duration=3700.1234,
)


def test_text_is_one_line() -> None:
    assert written(TALK, Format.TEXT) == "Good morning. A < B & C --> D\n"


def test_json_has_the_text() -> None:
    assert json.loads(written(TALK, Format.JSON)) == {"text": "Good morning. A < B & C --> D"}


def test_srt() -> None:
    assert written(TALK, Format.SRT) == (
        "1\n00:00:00,000 --> 00:00:01,500\nGood morning.\n\n2\n01:01:01,000 --> 01:01:02,250\nA < B & C -> D\n"
    )


def test_vtt_escapes_what_is_markup_there() -> None:
    assert written(TALK, Format.VTT) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nGood morning.\n\n"
        "01:01:01.000 --> 01:01:02.250\nA &lt; B &amp; C -> D\n"
    )


def test_verbose_json() -> None:
    told = json.loads(written(TALK, Format.VERBOSE_JSON))
    assert (told["task"], told["language"], told["duration"]) == ("transcribe", "english", 3700.123)
    assert [segment["id"] for segment in told["segments"]] == [0, 1]
    assert told["segments"][1]["tokens"] == [1, 2]
    assert "words" not in told
    told = json.loads(written(TALK, Format.VERBOSE_JSON, words=True))
    assert told["words"] == [
        {"word": "Good", "start": 0.0, "end": 0.7},
        {"word": "morning.", "start": 0.7, "end": 1.5},
    ]


def test_every_language_of_the_library_has_a_name() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert NAMES.keys() == set(_LANGUAGE_CODES)
    assert (len(NAMES), NAMES["ht"], NAMES["zh"]) == (100, "haitian creole", "chinese")
    unknown = Transcript(segments=(), language="tlh", duration=2.0)
    assert json.loads(written(unknown, Format.VERBOSE_JSON))["language"] == "tlh"


def test_where_nobody_speaks_each_is_still_one() -> None:
    nothing = Transcript(segments=(), language="", duration=2.0)
    assert list(srt.parse(written(nothing, Format.SRT))) == []
    assert list(webvtt.from_buffer(io.StringIO(written(nothing, Format.VTT))).captions) == []
    assert json.loads(written(nothing, Format.VERBOSE_JSON))["segments"] == []


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 30), WORDS.filter(lambda text: text.strip())), max_size=5))
def test_whatever_is_said_is_read_back(said: list[tuple[float, float, str]]) -> None:
    """Times within a thousandth of a second, and words but for the arrow."""
    segments = [Segment(start=start, end=start + length, text=text) for start, length, text in said]
    transcript = Transcript(segments=segments, language="en", duration=1.0)
    cues = list(srt.parse(written(transcript, Format.SRT)))
    assert len(cues) == len(segments)
    for cue, segment in zip(cues, segments, strict=True):
        assert cue.start.total_seconds() == pytest.approx(segment.start, abs=0.002)
        assert cue.content == re.sub("--+>", "->", " ".join(segment.text.split()))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (12.4, "0:12"), (59.6, "1:00"), (900, "15:00"), (3725, "1:02:05")]
)
def test_lengths_are_told_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
