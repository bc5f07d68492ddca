"""Transcriptions and translations on six generations of the SDK, in five formats, judged by other people's parsers."""

from __future__ import annotations

import io

import pytest
import srt
import webvtt

from tests.sdk.conftest import Told
from tests.sdk.plan import ENGLISH, SPOKEN

SEGMENT = {
    *("id", "seek", "start", "end", "text", "tokens", "temperature"),
    *("avg_logprob", "compression_ratio", "no_speech_prob"),
}


def test_json_is_what_comes_of_itself(told: Told) -> None:
    assert told.answer("transcribe json")["text"] == SPOKEN
    assert told.answer("transcribe") == told.answer("transcribe json")


def test_text_with_all_that_can_be_told_of_a_recording(told: Told) -> None:
    assert told.answer("transcribe text").strip() == SPOKEN


def test_srt(told: Told) -> None:
    [cue] = srt.parse(told.answer("transcribe srt"))
    assert cue.content == SPOKEN
    assert 0 <= cue.start.total_seconds() < cue.end.total_seconds() < 4


def test_verbose_json(told: Told) -> None:
    heard = told.answer("transcribe verbose_json")
    assert (heard["text"], heard["task"], heard["language"]) == (SPOKEN, "transcribe", "english")
    assert 0.5 < float(heard["duration"]) < 4
    [segment] = heard["segments"]
    assert set(segment) >= SEGMENT


@pytest.mark.parametrize("name, said", [("transcribe vtt", SPOKEN), ("translate vtt", ENGLISH)])
def test_vtt(told: Told, name: str, said: str) -> None:
    [caption] = webvtt.from_buffer(io.StringIO(told.answer(name))).captions
    assert caption.text == said


def test_german_is_translated(told: Told) -> None:
    assert told.answer("translate")["text"] == ENGLISH


def test_what_is_no_recording_is_refused(told: Told) -> None:
    error = told.error("no recording")
    assert (error["status"], error["type"], error["param"]) == (400, "invalid_request_error", "file")


def test_a_format_that_there_is_not_is_refused(told: Told) -> None:
    error = told.error("unknown format")
    assert (error["status"], error["type"], error["param"]) == (400, "invalid_request_error", "response_format")
