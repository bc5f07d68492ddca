"""Transcriptions and translations on six generations of the SDK, in five formats, judged by other people's parsers."""

from __future__ import annotations

import io
from typing import Any

import pytest
import srt
import webvtt

from tests.sdk.conftest import Told
from tests.sdk.plan import SPOKEN, TRANSLATED

KINDS = [("transcribe", SPOKEN), ("translate", TRANSLATED)]
SEGMENT = {
    *("id", "seek", "start", "end", "text", "tokens", "temperature"),
    *("avg_logprob", "compression_ratio", "no_speech_prob"),
}


def words(told: Told, name: str) -> Any:
    """The text of an answer in JSON."""
    return told.answer(name)["text"]


@pytest.mark.parametrize("kind, said", KINDS)
def test_json_is_what_comes_of_itself(told: Told, kind: str, said: str) -> None:
    assert told.answer(kind) == told.answer(f"{kind} json")
    assert words(told, kind) == said


@pytest.mark.parametrize("kind, said", KINDS)
def test_text(told: Told, kind: str, said: str) -> None:
    assert told.answer(f"{kind} text").strip() == said


@pytest.mark.parametrize("kind, said", KINDS)
def test_srt(told: Told, kind: str, said: str) -> None:
    [cue] = srt.parse(told.answer(f"{kind} srt"))
    assert cue.content == said
    assert 0 <= cue.start.total_seconds() < cue.end.total_seconds() < 4


@pytest.mark.parametrize("kind, said", KINDS)
def test_vtt(told: Told, kind: str, said: str) -> None:
    [caption] = webvtt.from_buffer(io.StringIO(told.answer(f"{kind} vtt"))).captions
    assert caption.text == said


@pytest.mark.parametrize("kind, said", KINDS)
def test_verbose_json(told: Told, kind: str, said: str) -> None:
    heard = told.answer(f"{kind} verbose_json")
    assert heard["text"] == said
    assert heard["task"] == kind
    assert heard["language"] == {"transcribe": "english", "translate": "english"}[kind]
    assert 0.5 < float(heard["duration"]) < 4
    [segment] = heard["segments"]
    assert set(segment) >= SEGMENT


def test_what_is_told_of_a_recording_is_taken(told: Told) -> None:
    assert words(told, "transcribe told") == SPOKEN


def test_what_is_no_recording_is_refused(told: Told) -> None:
    error = told.error("no recording")
    assert (error["status"], error["type"], error["param"]) == (400, "invalid_request_error", "file")


def test_a_format_that_there_is_not_is_refused(told: Told) -> None:
    error = told.error("unknown format")
    assert (error["status"], error["type"], error["param"]) == (400, "invalid_request_error", "response_format")
