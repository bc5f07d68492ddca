"""Wrong keys: what looks like a guess at a page's token is counted, and a right key is let in all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.web.sessions import FAILURES
from bot.api_door import new_secret
from tests.web import ANN_TOKEN, TOKENS, Answer, Browser, Site, site

RIGHT, REVOKED = new_secret(), new_secret()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    """With people who have tokens, a key, and one that was revoked."""
    async with site(tmp_path, TOKENS) as made:
        await made.app.store.add_key(RIGHT, name="right")
        await made.app.store.add_key(REVOKED, name="old")
        await made.app.store.revoke_key("old")
        yield made


@pytest.fixture
async def program(home: Site) -> AsyncIterator[Browser]:
    async with home.browser() as browser:
        yield browser


async def look(program: Browser, secret: str, **headers: str) -> Answer:
    """Ask for the models with a key."""
    return await program.get("/v1/models", headers={"Authorization": f"Bearer {secret}", **headers})


async def test_guesses_are_refused_after_some_and_a_right_key_is_not(program: Browser) -> None:
    for _ in range(FAILURES):
        wrong = await look(program, "a-guess-at-a-token")
        assert (wrong.status, wrong.json["error"]["code"]) == (401, "invalid_api_key")
    late = await look(program, ANN_TOKEN)
    assert late.status == 429
    assert int(late.headers["Retry-After"]) > 0
    assert (await look(program, RIGHT)).status == 200


@pytest.mark.parametrize("secret", [REVOKED, new_secret()], ids=["revoked", "unknown"])
async def test_a_program_with_an_old_key_shuts_nobody_else_out(program: Browser, secret: str) -> None:
    """It asks again and again, and others come from the same address."""
    for _ in range(2 * FAILURES):
        assert (await look(program, secret)).status == 401
    assert (await look(program, ANN_TOKEN)).status == 200


async def test_a_wrong_organisation_is_no_guess(program: Browser) -> None:
    for _ in range(2 * FAILURES):
        wrong = await look(program, RIGHT, **{"OpenAI-Organization": "org-of-others"})
        assert (wrong.status, wrong.json["error"]["code"]) == (401, "mismatched_organization")
    assert (await look(program, ANN_TOKEN)).status == 200
