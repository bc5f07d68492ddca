"""The models that programs are told of: names, the snapshots that they lead to, and until when those are there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.programs import program
from tests.web import site

OLD = {"path": "old.fake", "released": "2025-01-31", "deprecated": "2027-06-30", "description": "an old one"}


async def test_a_model_says_which_it_is_and_until_when_it_is_there(tmp_path: Path) -> None:
    api = {"aliases": {"veteran": "old", "text-davinci-003": "old"}}
    async with site(tmp_path, models={"old": OLD}, api=api) as home, program(home) as asker:
        assert (await asker.chat(model="old"))["model"] == "old-2025-01-31"
        listed = {card["id"]: card for card in (await asker.get("/models")).json["data"]}
        for name in ("old", "veteran", "text-davinci-003", "old-2025-01-31"):
            told = (await asker.get(f"/models/{name}")).json
            assert told == {
                "id": name,
                "object": "model",
                "created": int(datetime(2025, 1, 31, tzinfo=UTC).timestamp()),
                "owned_by": "hearth",
                "kind": "chat",
                "snapshot": "old-2025-01-31",
                "deprecated": "2027-06-30",
                "context_length": 4096,
                "description": "an old one",
            }
            assert listed[name] == told
            assert (await asker.chat(model=name))["model"] == "old-2025-01-31"
        assert listed["default"]["deprecated"] is None
        assert listed["gpt-3.5-turbo"]["snapshot"] == listed["default"]["snapshot"] == "scripted-1970-01-01"


async def test_engines_are_the_models_by_their_earlier_name(tmp_path: Path) -> None:
    async with site(tmp_path, models={"old": OLD}) as home, program(home) as asker:
        models = [card["id"] for card in (await asker.get("/models")).json["data"]]
        engines = (await asker.get("/engines")).json
        assert [card["id"] for card in engines["data"]] == models
        assert (await asker.get("/engines/old")).json == next(card for card in engines["data"] if card["id"] == "old")
        assert {card["object"] for card in engines["data"]} == {"engine"}
        for path in ("/models/none", "/engines/none"):
            answer = await asker.get(path)
            assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
