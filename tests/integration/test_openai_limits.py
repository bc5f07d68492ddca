"""What a key allows, over real sockets: requests a minute, tokens a day, and what is said of both in every response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from bot import api_door
from bot.api_door import new_secret
from tests.house import until
from tests.programs import CHAT, HELLO, TEXT, error, program
from tests.web import ANN_TOKEN, OWNER_TOKEN, TOKENS, Answer, Site, site

HEADERS = [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]
A_SALT = 4 + 5
"""Tokens that the prompt "salt" and its answer take."""


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A minute is a long time: the bucket does not fill while a slow machine makes its requests."""
    monkeypatch.setattr(api_door, "MINUTE", 3e6)
    async with site(tmp_path) as made:
        made.engine.answer = lambda _: "salt"
        yield made


async def key(home: Site, name: str = "website", **more: Any) -> str:
    secret = new_secret()
    await home.app.store.add_key(secret, name=name, **more)
    return secret


def told(answer: Answer) -> dict[str, str]:
    """The headers about limits, by the end of their names."""
    return {name.removeprefix("x-ratelimit-"): answer.headers[name] for name in HEADERS if name in answer.headers}


async def test_so_many_requests_a_minute_and_no_more(home: Site) -> None:
    async with program(home, await key(home, requests_per_minute=3)) as asker:
        for left in (2, 1, 0):
            answer = await asker.post(TEXT, {"model": "default", "prompt": "salt"})
            assert answer.status == 200
            assert (told(answer)["limit-requests"], told(answer)["remaining-requests"]) == ("3", f"{left}")
            assert "limit-tokens" not in told(answer)
        refused = await asker.post(CHAT, {"model": "default", "messages": HELLO, "stream": True})
        assert (refused.status, error(refused)["type"], error(refused)["code"]) == (
            429,
            "requests",
            "rate_limit_exceeded",
        )
        assert error(refused)["message"].startswith("Rate limit reached: 3 requests a minute. Please try again in ")
        assert 0 < int(refused.headers["Retry-After"]) <= 1e6
        assert told(refused)["remaining-requests"] == "0"
        assert told(refused)["reset-requests"].endswith("s")
    assert len(home.engine.requests) == 3


async def test_what_is_wrong_counts_too_and_what_is_free_does_not(home: Site) -> None:
    async with program(home, await key(home, requests_per_minute=2)) as asker:
        for path in ("/models", "/models/default", "/models/nobody", "/engines", "/openapi.json", "/nothing"):
            assert told(await asker.get(path))["remaining-requests"] == "2", path
        assert told(await asker.get("/chat/completions"))["remaining-requests"] == "2"
        assert told(await asker.get("/chat/completions/chatcmpl-1"))["remaining-requests"] == "2"
        await asker.refused(TEXT, prompt="salt", temperature=9)
        await asker.text("salt")
        assert (await asker.post(TEXT, {"model": "default", "prompt": "salt"})).status == 429
        assert (await asker.get("/models")).status == 200


async def test_one_key_s_requests_are_not_another_s(home: Site) -> None:
    first, second = [await key(home, name, requests_per_minute=1) for name in ("first", "second")]
    async with program(home, first) as one, program(home, second) as other, program(home, await key(home)) as free:
        await one.text("salt")
        assert (await one.post(TEXT, {"model": "default", "prompt": "salt"})).status == 429
        await other.text("salt")
        for _ in range(5):
            answer = await free.post(TEXT, {"model": "default", "prompt": "salt"})
            assert (answer.status, told(answer)) == (200, {})


async def test_so_many_tokens_a_day_and_no_more(home: Site) -> None:
    async with program(home, await key(home, tokens_per_day=2 * A_SALT)) as asker:
        first = await asker.post(TEXT, {"model": "default", "prompt": "salt"})
        assert first.status == 200
        assert told(first)["limit-tokens"] == f"{2 * A_SALT}"
        second = await asker.post(TEXT, {"model": "default", "prompt": "salt", "stream": True})
        assert second.status == 200
        assert 0 < int(told(second)["remaining-tokens"]) <= A_SALT
        refused = await asker.post(TEXT, {"model": "default", "prompt": "salt"})
        assert (refused.status, error(refused)["type"], error(refused)["code"]) == (
            429,
            "tokens",
            "rate_limit_exceeded",
        )
        assert f"{2 * A_SALT} tokens a day" in error(refused)["message"]
        assert 0 < int(refused.headers["Retry-After"]) <= 86_400
        assert told(refused)["remaining-tokens"] == "0"
        assert (await asker.get("/models")).status == 200
    assert len(home.engine.requests) == 2


async def test_what_is_being_written_counts_for_the_day(home: Site) -> None:
    """Else 64 streams at once would take 64 times what is left."""
    home.engine.answer = lambda _: "s" * 500
    home.engine.stall_after = 40
    secret = await key(home, tokens_per_day=300)
    async with (
        program(home, secret) as asker,
        aclosing(asker.live(TEXT, {"prompt": "x" * 250, "max_tokens": 200})) as one,
    ):
        for _ in range(40):
            await anext(one)
        remaining = int(told(await asker.get("/models"))["remaining-tokens"])
        assert remaining <= 300 - 250 - 40 + 1
        home.engine.stall_after = None
        home.engine.resume.set()
        assert len([event async for event in one]) > 100
        refused = await asker.post(TEXT, {"model": "default", "prompt": "x"})
        assert (refused.status, error(refused)["type"]) == (429, "tokens")


async def test_what_is_being_embedded_counts_for_the_day(home: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = (await home.app.registry.get_embedding("embedding")).engine
    embed, begun, go_on = engine.embed, asyncio.Event(), asyncio.Event()

    async def held(inputs: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await embed(inputs)

    monkeypatch.setattr(engine, "embed", held)
    async with program(home, await key(home, tokens_per_day=100)) as asker:
        body = {"model": "embedding", "input": [[300] * 40, [300] * 50]}
        one = asyncio.create_task(asker.post("/embeddings", body))
        async with asyncio.timeout(60):
            await begun.wait()
        assert told(await asker.get("/models"))["remaining-tokens"] == f"{100 - 94}", "each with what stands around it"
        go_on.set()
        used = (await one).json["usage"]["total_tokens"]
        after = await asker.post("/embeddings", {"model": "embedding", "input": [300]})
        assert (used, told(after)["remaining-tokens"]) == (94, f"{100 - 94 - 1}")


async def test_what_a_client_left_counts_as_far_as_it_was_written(home: Site) -> None:
    home.engine.answer = lambda _: "s" * 500
    home.engine.stall_after = 40
    async with program(home, await key(home, tokens_per_day=100)) as asker:
        async with aclosing(asker.live(CHAT, {"messages": HELLO})) as one:
            for _ in range(41):  # the first has the role
                await anext(one)
        await until(lambda: home.engine.active == 0, "the engine to be free")
        async with asyncio.timeout(60):
            while not (usage := await home.app.store.api_usage()):
                await asyncio.sleep(0.005)
        [row] = usage
        assert row["requests"] == 1
        assert row["completion_tokens"] == 40
        assert row["prompt_tokens"] == len(home.engine.requests[0].prompt)
        left = 100 - 40 - len(home.engine.requests[0].prompt)
        again = await asker.post(TEXT, {"model": "default", "prompt": "x", "max_tokens": 1})
        assert told(again)["remaining-tokens"] == f"{left - 1}"


async def test_people_of_the_page_have_their_own_limits(tmp_path: Path) -> None:
    permissions = {"messages_per_minute": 20, "tokens_per_day": 1}
    async with site(tmp_path, TOKENS, permissions=permissions) as home:
        async with program(home, ANN_TOKEN) as ann:
            await ann.text("salt")
            refused = await ann.post(TEXT, {"model": "default", "prompt": "salt"})
            assert (refused.status, error(refused)["type"]) == (429, "tokens")
        async with program(home, OWNER_TOKEN) as owner:
            for _ in range(3):
                answer = await owner.post(TEXT, {"model": "default", "prompt": "salt"})
                assert (answer.status, told(answer)) == (200, {})


async def test_more_than_its_places_in_the_queue_a_key_does_not_get(tmp_path: Path) -> None:
    async with site(tmp_path, api={"queue_per_key": 3}) as home, program(home) as asker:
        home.engine.stall_in_prefill = True
        body = {"model": "default", "messages": HELLO}
        waiting = [asyncio.create_task(asker.post(CHAT, body)) for _ in range(3)]
        await until(lambda: home.engine.active == 3, "three requests in progress")
        refused = await asker.post(CHAT, body)
        assert (refused.status, error(refused)["type"], error(refused)["code"]) == (
            429,
            "rate_limit_error",
            "engine_overloaded",
        )
        assert int(refused.headers["Retry-After"]) >= 1
        home.engine.stall_in_prefill = False
        home.engine.resume.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3
        await asker.chat()
