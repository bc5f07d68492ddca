"""What programs call the speech models: never a path, and never one that nobody configured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bot.completions.names import Names
from bot.speech.look import look
from bot.speech.names import names
from tests.house import configuration

OPENAIS = {"whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"}


def found(**speech: Any) -> dict[str, tuple[str, str, str, str]]:
    """Name -> alias, snapshot, model and translator."""
    told = names(configuration(speech=speech).speech)
    return {name: (one.alias, one.snapshot, one.model, one.translator) for name, one in told.items()}


def test_a_fresh_install() -> None:
    snapshot = "hearth-demo-speech-2026-11-28"
    demo = ("whisper-1", snapshot, "demo", "demo")
    assert found() == dict.fromkeys({*OPENAIS, "hearth-demo-speech", snapshot}, demo)


def test_a_model_from_a_hub_is_called_as_there() -> None:
    assert found(model="small")["whisper-1"] == ("whisper-1", "small", "small", "small")
    assert found(model="owner/whisper-x")["owner-whisper-x"] == (
        "whisper-1",
        "owner-whisper-x",
        *["owner/whisper-x"] * 2,
    )


def test_a_folder_is_called_by_its_last_part_and_dated_by_its_weights(tmp_path: Path) -> None:
    folder = tmp_path / "secret place" / "my whisper"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"")
    os.utime(folder / "model.bin", (1_700_000_000, 1_700_000_000))
    told = found(model=str(folder))
    assert told.keys() == OPENAIS | {"my-whisper", "my-whisper-2023-11-14"}
    assert not any("secret" in name or "secret" in one[1] for name, one in told.items())


def test_what_translates_has_a_name_of_its_own() -> None:
    told = found(model="large-v3-turbo", translation_model="large-v3")
    assert told["whisper-1"] == ("whisper-1", "large-v3-turbo", "large-v3-turbo", "large-v3")
    assert told["large-v3"] == ("large-v3", "large-v3", "large-v3", "large-v3")


def test_further_names() -> None:
    told = found(names={"big": "large-v3", "gpt-4o-transcribe": "medium"})
    assert told["big"] == ("big", "large-v3", "large-v3", "large-v3")
    assert told["gpt-4o-transcribe"] == ("gpt-4o-transcribe", "medium", "medium", "medium")
    assert told["whisper-1"][2] == told["gpt-transcribe"][2] == "demo"


def test_nothing_where_nothing_is_heard() -> None:
    assert found(enabled=False) == {}


def test_the_api_lists_them() -> None:
    cards = {card.id: card for card in Names(configuration()).cards()}
    assert cards.keys() > OPENAIS
    whisper = cards["whisper-1"]
    assert (whisper.kind, whisper.snapshot) == ("speech", "hearth-demo-speech-2026-11-28")
    assert cards[whisper.snapshot].snapshot == whisper.snapshot
    assert whisper.created.date().isoformat() == "2026-11-28"


def test_a_look_at_all_of_them() -> None:
    speech = configuration(
        speech={"device": "cpu", "translation_model": "large-v3", "names": {"a": "small", "b": "demo"}}
    ).speech
    words = look(speech)
    assert words == "hearth-demo-speech (2 MiB, a demo that knows 250 words), on cpu; large-v3; small"
    assert look(configuration(speech={"device": "cpu", "model": "small"}).speech) == (
        "small, on cpu; downloaded when the first recording comes, if it is not here"
    )
