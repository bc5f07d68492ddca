"""Every parameter of OpenAI's documents for audio is honoured, or refused by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bot.transcription import Task, TranscribeOptions
from tests.audio_api import SCHEMAS, TRANSCRIPTIONS, TRANSLATIONS, Api, Noting, Opening, serving
from tests.recordings import recording


@pytest.fixture
def ears() -> Noting:
    return Noting()


@pytest.fixture
async def quick(ears: Noting) -> AsyncIterator[Api]:
    """Without a process for each file."""
    async with serving(ears, Opening()) as opened:
        yield opened


HONOURED: dict[str, list[tuple[list[tuple[str, str]], Mapping[str, object]]]] = {
    "prompt": [([("prompt", "Zelda")], {"prompt": "Zelda"}), ([("prompt", "")], {"prompt": ""})],
    "temperature": [
        ([("temperature", value)], {"temperature": float(value)}) for value in ("0", "0.0", "1", ".5", "2e-1")
    ],
    "language": [([("language", value)], {"language": "de"}) for value in ("de", "DE", "german", "German")]
    + [([("language", "")], {"language": None})],
    "languages": [
        ([("languages[]", "de")], {"language": "de"}),
        ([("languages", "de"), ("language", "de")], {"language": "de"}),
    ],
    "keywords": [
        ([("keywords[]", "Zelda"), ("keywords[]", "Ganon")], {"prompt": "Zelda, Ganon."}),
        ([("keywords", "Zelda"), ("prompt", "And so")], {"prompt": "Zelda. And so"}),
    ],
    "timestamp_granularities": [
        ([("response_format", "verbose_json"), ("timestamp_granularities[]", value)], {"words": value == "word"})
        for value in ("word", "segment")
    ],
    "chunking_strategy": [([("chunking_strategy", "auto")], {}), ([("chunking_strategy", "")], {})],
    "stream": [([("stream", value)], {}) for value in ("true", "false", "True", "0", "")],
    "response_format": [
        ([("response_format", value)], {}) for value in ("json", "text", "srt", "verbose_json", "vtt", "")
    ],
    "model": [([("model", "other")], {})],
    "file": [([], {})],
}
"""Parameters with values that are honoured, and what they make of the options."""
VAD = '{"type": "server_vad", "threshold": 0.6}'
REFUSED: dict[str, list[list[tuple[str, str]]]] = {
    "model": [[("model", "")], [("model", "whisper-1"), ("model", "whisper-1")], [("model[]", "whisper-1")]],
    "prompt": [[("prompt", "a"), ("prompt", "b")], [("prompt[text]", "a")]],
    "temperature": [
        [("temperature", value)] for value in ("-0.1", "1.01", "2", "nan", "inf", "hot", "0_1", "1e999", "٠", "0,5")
    ],
    "language": [[("language", value)] for value in ("xx", "en-US", "tlh")],
    "languages": [
        [("languages[]", "de"), ("languages[]", "en")],
        [("language", "en"), ("languages[]", "de")],
        [("languages[]", "xx")],
    ],
    "keywords": [[("keywords[a]", "Zelda")]],
    "response_format": [[("response_format", value)] for value in ("diarized_json", "xml", "JSON")]
    + [[("stream", "true"), ("response_format", value)] for value in ("srt", "vtt", "verbose_json")],
    "timestamp_granularities": [
        [("timestamp_granularities[]", "word")],
        [("timestamp_granularities[]", "word"), ("response_format", "json")],
        [("timestamp_granularities[]", "line"), ("response_format", "verbose_json")],
    ],
    "stream": [[("stream", "yes")], [("stream", "true"), ("stream", "true")]],
    "chunking_strategy": [
        [("chunking_strategy", VAD)],
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.6")],
    ],
    "include": [[("include[]", "logprobs")], [("include", "logprobs")]],
    "known_speaker_names": [[("known_speaker_names[]", "Ann")]],
    "known_speaker_references": [[("known_speaker_references[]", "data:audio/wav;base64,AAAA")]],
    "file": [[("file", "a.mp3")]],
}
"""And such that are refused."""


def parameters(path: str) -> set[str]:
    """All of both documents."""
    name = {TRANSCRIPTIONS: "CreateTranscriptionRequest", TRANSLATIONS: "CreateTranslationRequest"}[path]
    return {parameter for schemas in SCHEMAS.values() for parameter in schemas[name]["properties"]}


def of_items(table: dict[str, Any], path: str) -> list[Any]:
    known = parameters(path)
    return [
        pytest.param(path, name, case, id=f"{path[10:]}-{name}-{number}")
        for name in table
        if name in known
        for number, case in enumerate(table[name])
    ]


def only_translated(path: str, fields: Sequence[tuple[str, str]]) -> bool:
    return path == TRANSLATIONS and any(name.partition("[")[0] not in parameters(path) for name, _ in fields)


def test_every_parameter_has_its_cases() -> None:
    """And those of the translations are among them."""
    assert parameters(TRANSLATIONS) <= parameters(TRANSCRIPTIONS) == HONOURED.keys() | REFUSED.keys()
    refused_whole = {"include", "known_speaker_names", "known_speaker_references"}
    assert HONOURED.keys() == parameters(TRANSCRIPTIONS) - refused_whole


@pytest.mark.parametrize(
    ("path", "name", "case"), of_items(HONOURED, TRANSCRIPTIONS) + of_items(HONOURED, TRANSLATIONS)
)
async def test_honoured(quick: Api, ears: Noting, path: str, name: str, case: Any) -> None:
    fields, options = case
    answer = await quick.send(path, recording("flac"), *fields)
    assert answer.status == 200, answer.text
    task = Task.TRANSLATE if path == TRANSLATIONS else Task.TRANSCRIBE
    assert [asked for asked, _ in ears.asked] == [replace(TranscribeOptions(task=task), **options)]


@pytest.mark.parametrize(
    ("path", "name", "fields"), of_items(REFUSED, TRANSCRIPTIONS) + of_items(REFUSED, TRANSLATIONS)
)
async def test_refused_by_name(quick: Api, ears: Noting, path: str, name: str, fields: list[tuple[str, str]]) -> None:
    answer = await quick.send(path, None if name == "file" else recording("flac"), *fields)
    if only_translated(path, fields):
        name = next(key for key, _ in fields if key.partition("[")[0] not in parameters(path)).partition("[")[0]
    status, param = answer.refusal
    assert (status, str(param).partition("[")[0]) == (400, name)
    assert answer.error["type"] == "invalid_request_error"
    assert ears.asked == []


@pytest.mark.parametrize(
    "name", ["user", "seed", "timestamp_granularity", "files[]", "model.x", "__proto__", "a" * 5000]
)
async def test_what_is_in_no_specification_is_refused(quick: Api, name: str) -> None:
    for path in (TRANSCRIPTIONS, TRANSLATIONS):
        answer = await quick.send(path, recording("flac"), (name, "1"))
        status, param = answer.refusal
        assert (status, param) == (400, name.removesuffix("[]")[:64])
        assert len(answer.body) < 500


async def test_translations_know_fewer_parameters(quick: Api) -> None:
    for name in parameters(TRANSCRIPTIONS) - parameters(TRANSLATIONS):
        answer = await quick.send(TRANSLATIONS, recording("flac"), (name, "1"))
        assert answer.refusal == (400, name)
        assert "Unrecognized request argument supplied" in answer.error["message"]


@pytest.mark.parametrize("missing", ["file", "model"])
async def test_what_must_be_there(quick: Api, missing: str) -> None:
    data = None if missing == "file" else recording("flac")
    answer = await quick.send(TRANSCRIPTIONS, data, ("model", "" if missing == "model" else "whisper-1"))
    assert answer.refusal == (400, missing)
