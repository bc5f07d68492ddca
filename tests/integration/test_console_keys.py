"""The owner's requests about the API on the local socket."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.console.keys import ApiOwner
from bot.api import ApiUse, Caller
from bot.api_door import new_secret
from bot.errors import StartError
from storage.store import SqlStore
from tests.console import Bot, console, post

WHOLE = {"name": "website", "organisation": "", "models": [], "requests_per_minute": 0, "tokens_per_day": 0}
UNTIL = datetime(2027, 2, 1, tzinfo=UTC)


async def test_keys_are_made_shown_and_revoked(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    bot, secret = Bot(), new_secret()
    async with console(tmp_path, bot.receive, ApiOwner(store)) as (bot.console, client):
        assert await client.api_keys() == []
        own = {"organisation": "org-acme", "models": ["default"], "expires_at": UNTIL.isoformat()}
        told = await client.add_api_key(secret, **{**WHOLE, **own})
        [key] = await store.keys()
        assert (key.name, key.organisation, key.models, key.expires_at) == ("website", "org-acme", ("default",), UNTIL)
        assert await store.find_key(secret) == key
        assert await client.api_keys() == [told]
        assert told["expires_at"] == UNTIL.isoformat()
        assert secret not in str(told)
        with pytest.raises(StartError, match="there is a key 'website' already: choose another name, or first hearth"):
            await client.add_api_key(new_secret(), **WHOLE)
        assert await client.revoke_api_key("web site/?") is None
        revoked = await client.revoke_api_key("website")
        assert revoked is not None
        assert revoked["revoked_at"] is not None
        assert await client.revoke_api_key("website") is None
    await store.aclose()


async def test_usage_of_the_api_is_told(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    await store.count_api_use(ApiUse(caller=Caller(id="open", name="anybody"), endpoint="chat", model="default"))
    bot = Bot()
    async with console(tmp_path, bot.receive, ApiOwner(store)) as (bot.console, client):
        assert await client.api_usage() == await store.api_usage()
    await store.aclose()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": 5}, "name: must be text"),
        ({"secret": None}, "secret: must be text"),
        ({"models": "default"}, "models: must be a list of texts"),
        ({"models": [5]}, "models: must be a list of texts"),
        ({"tokens_per_day": -1}, "tokens_per_day: must be a whole number, 0 or more"),
        ({"tokens_per_day": 2**63}, "tokens_per_day: must be a whole number, 0 or more"),
        ({"requests_per_minute": True}, "requests_per_minute: must be a whole number, 0 or more"),
        ({"expires_at": "soon"}, "expires_at: must be a time (ISO 8601)"),
        ({"expires_at": "2027-01-31T00:00:00"}, "expires_at: must be a time with its offset"),
    ],
)
async def test_a_body_that_is_wrong_is_told(tmp_path: Path, wrong: dict[str, object], words: str) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    bot = Bot()
    async with console(tmp_path, bot.receive, ApiOwner(store)) as (bot.console, _):
        assert await post(tmp_path, "/api/keys", {"secret": new_secret(), **WHOLE, **wrong}) == (400, words)
        assert await store.keys() == []
    await store.aclose()
