"""Which key opens the API, and what a caller may still do. The time is the test's; the store is real."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.api import ApiUse, Caller
from bot.api_door import MISSING, SWEPT, UNKNOWN, Allowance, KeyDoor, new_secret
from bot.api_limits import Door, Limits, Spending, Standing, duration
from bot.errors import BadKey, DatabaseError, LimitReached
from bot.generation import Usage
from storage.store import SqlStore

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HALF_A_DAY = 12 * 3600.0


class House:
    """A store, its door and its limits, at a time that only passes when it is said so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.store: SqlStore
        self.door: Door
        self.limits: Limits

    def now(self) -> datetime:
        """In UTC."""
        return NOON + timedelta(seconds=self.seconds)

    async def open(self, folder: Path) -> None:
        """Make them."""
        url = f"sqlite+aiosqlite:///{folder / 'hearth.db'}"
        self.store = await SqlStore.open(url, default_retention_days=30, clock=self.now)
        self.door = KeyDoor(self.store, self.now)
        self.limits = Allowance(self.store, lambda: self.seconds, self.now)

    async def key(self, name: str = "website", **more: Any) -> str:
        """A new key's secret."""
        secret = new_secret()
        await self.store.add_key(secret, name=name, **more)
        return secret

    async def refused(self, secret: str | None, organisation: str = "") -> BadKey:
        """Why a key opens nothing."""
        with pytest.raises(BadKey) as told:
            await self.door.caller(secret, organisation)
        return told.value

    async def used(self, caller: Caller, tokens: int) -> None:
        """Count a request that has ended."""
        use = ApiUse(caller=caller, endpoint="chat", model="default", usage=Usage(completion_tokens=tokens))
        await self.store.count_api_use(use)

    async def over(self, caller: Caller) -> LimitReached:
        """Why a request is not let in."""
        with pytest.raises(LimitReached) as told:
            await self.limits.admit(caller)
        return told.value


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House()
    await house.open(tmp_path)
    yield house
    await house.store.aclose()


# The door


def test_secrets_are_random_and_need_no_quoting() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"hk-[A-Za-z0-9_-]{43}", secret) for secret in secrets)


async def test_a_key_says_who_its_caller_is(house: House) -> None:
    secret = await house.key(
        organisation="org-acme", models=("default", "big"), requests_per_minute=60, tokens_per_day=1000
    )
    [key] = await house.store.keys()
    assert await house.door.caller(secret) == Caller(
        id=f"key/{key.id}",
        name="website",
        organisation="org-acme",
        models=frozenset({"default", "big"}),
        requests_per_minute=60,
        tokens_per_day=1000,
    )
    plain = await house.door.caller(await house.key("plain"))
    assert (plain.models, plain.organisation, plain.requests_per_minute, plain.tokens_per_day) == (None, "", 0, 0)


async def test_each_refusal_has_words_of_its_own_and_repeats_no_secret(house: House) -> None:
    secret = await house.key(expires_at=NOON + timedelta(seconds=10))
    other = await house.key("other")
    await house.door.caller(secret)
    await house.door.caller(other)
    await house.store.revoke_key("other")
    house.seconds = 10.0
    expired, revoked, unknown = [await house.refused(one) for one in (secret, other, new_secret())]
    assert expired.words == f"The API key {secret[:6]}...{secret[-4:]} has expired."
    assert revoked.words == f"The API key {other[:6]}...{other[-4:]} was revoked."
    assert unknown.words == UNKNOWN
    assert {one.code for one in (expired, revoked, unknown)} == {"invalid_api_key"}
    for nothing in (None, ""):
        missing = await house.refused(nothing)
        assert (missing.words, missing.code) == (MISSING, None)


async def test_what_cannot_be_a_key_is_not_looked_up(tmp_path: Path) -> None:
    looks: list[str] = []
    store = await SqlStore.open(
        f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}",
        default_retention_days=30,
        measured=lambda kind, _, __: looks.append(kind),
    )
    door = KeyDoor(store)
    for secret in ("sk-1", "hk-", new_secret() + "a", new_secret()[:-1] + "é", new_secret()[:-1] + "\n", "x" * 10**6):
        with pytest.raises(BadKey):
            await door.caller(secret)
    assert looks == []
    with pytest.raises(BadKey):
        await door.caller(new_secret())
    assert looks == ["read"]
    await store.aclose()


async def test_a_header_must_name_the_key_s_own_organisation(house: House) -> None:
    secret = await house.key(organisation="org-acme")
    alone = await house.key("alone")
    for named in ("", "org-acme"):
        assert (await house.door.caller(secret, named)).organisation == "org-acme"
    for key, named in ((secret, "org-other"), (secret, "ORG-ACME"), (alone, "org-acme")):
        assert (await house.refused(key, named)).code == "mismatched_organization"
    assert (await house.door.caller(alone)).organisation == ""


async def test_a_use_is_noted_but_not_that_of_a_key_that_opens_nothing(house: House) -> None:
    secret = await house.key(expires_at=NOON + timedelta(hours=1))
    await house.door.caller(secret)
    assert (await house.store.keys())[0].used_at == NOON
    house.seconds = 3600.0
    await house.refused(secret)
    assert (await house.store.keys())[0].used_at == NOON


async def test_a_house_with_a_key_is_guarded_for_good(house: House) -> None:
    assert not await house.door.is_guarded()
    await house.key()
    assert await house.door.is_guarded()
    await house.store.revoke_key("website")
    assert await house.door.is_guarded()


# Requests a minute

SIX = Caller(id="key/1", name="six", requests_per_minute=6)


async def test_who_has_no_limits_is_told_of_none(house: House) -> None:
    caller = Caller(id="key/1", name="free")
    for _ in range(100):
        with await house.limits.admit(caller) as spending:
            spending.took(10**9)
            assert spending.standing == Standing()
            assert spending.standing.headers() == {}
    assert house.limits.standing(caller) == Standing()


async def test_a_minute_s_requests_may_come_at_once_and_come_back_evenly(house: House) -> None:
    left = [(await house.limits.admit(SIX)).standing.remaining_requests for _ in range(6)]
    assert left == [5, 4, 3, 2, 1, 0]
    told = await house.over(SIX)
    assert (told.kind, told.seconds) == ("requests", 10.0)
    assert "6 requests a minute" in told.words
    assert "try again in 10s" in told.words
    house.seconds += 9.5
    assert (await house.over(SIX)).seconds == pytest.approx(0.5)
    house.seconds += 0.5
    assert (await house.limits.admit(SIX)).standing.remaining_requests == 0
    house.seconds += 3600
    assert (await house.limits.admit(SIX)).standing.remaining_requests == 5


async def test_refusals_cost_nothing(house: House) -> None:
    for _ in range(6):
        await house.limits.admit(SIX)
    for _ in range(100):
        await house.over(SIX)
    house.seconds += 10.0
    await house.limits.admit(SIX)


async def test_what_the_headers_say_of_requests(house: House) -> None:
    standing = house.limits.standing(SIX)
    assert (standing.remaining_requests, standing.reset_requests) == (6, 0.0)
    await house.limits.admit(SIX)
    spending = await house.limits.admit(SIX)
    assert spending.standing.headers() == {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "20s",
    }
    house.seconds += 5.0
    assert house.limits.standing(SIX).headers()["x-ratelimit-reset-requests"] == "15s"


async def test_each_caller_has_a_bucket_of_their_own(house: House) -> None:
    for _ in range(6):
        await house.limits.admit(SIX)
    await house.over(SIX)
    await house.limits.admit(Caller(id="key/2", name="other", requests_per_minute=6))


# Tokens a day

THOUSAND = Caller(id="key/1", name="thousand", tokens_per_day=1000)


async def test_a_request_over_the_day_s_limit_is_refused(house: House) -> None:
    await house.used(THOUSAND, 999)
    spending = await house.limits.admit(THOUSAND)
    assert spending.standing == Standing(limit_tokens=1000, remaining_tokens=0, reset_tokens=HALF_A_DAY)
    spending.end()
    await house.used(THOUSAND, 500)
    told = await house.over(THOUSAND)
    assert (told.kind, told.seconds) == ("tokens", HALF_A_DAY)
    assert "1000 tokens a day, of which 1499 are used" in told.words
    assert "12h0m0s" in told.words


async def test_what_is_in_flight_counts_until_it_ends(house: House) -> None:
    with await house.limits.admit(THOUSAND) as first:
        assert house.limits.standing(THOUSAND).remaining_tokens == 999
        first.took(400)
        assert house.limits.standing(THOUSAND).remaining_tokens == 600, "the first is the one that was counted before"
        first.took(599)
        second = await house.limits.admit(THOUSAND)
        assert (await house.over(THOUSAND)).kind == "tokens"
        first.took(5000)
        assert house.limits.standing(THOUSAND).remaining_tokens == 0
    second.end()
    second.end()
    second.took(10**6)
    assert house.limits.standing(THOUSAND).remaining_tokens == 1000


async def test_of_many_at_once_no_more_come_in_than_there_are_tokens(house: House) -> None:
    await house.used(THOUSAND, 997)
    tries = await asyncio.gather(*(house.limits.admit(THOUSAND) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, Spending) for one in tries) == 3
    assert sum(isinstance(one, LimitReached) for one in tries) == 17


async def test_a_new_day_has_new_tokens(house: House) -> None:
    await house.used(THOUSAND, 1000)
    await house.over(THOUSAND)
    house.seconds = HALF_A_DAY - 0.5
    assert (await house.over(THOUSAND)).seconds == 0.5
    house.seconds = HALF_A_DAY
    assert (await house.limits.admit(THOUSAND)).standing.headers() == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "999",
        "x-ratelimit-reset-tokens": "24h0m0s",
    }


async def test_what_is_not_known_is_not_told(house: House) -> None:
    """Before a caller's first request of a day nobody has looked how much is used."""
    await house.used(THOUSAND, 1000)
    assert house.limits.standing(THOUSAND) == Standing()
    await house.over(THOUSAND)
    assert house.limits.standing(THOUSAND).remaining_tokens == 0
    house.seconds = HALF_A_DAY
    assert house.limits.standing(THOUSAND) == Standing()


async def test_who_is_refused_for_tokens_keeps_the_request(house: House) -> None:
    both = Caller(id="key/1", name="both", requests_per_minute=2, tokens_per_day=10)
    await house.used(both, 10)
    for _ in range(5):
        assert (await house.over(both)).kind == "tokens"
    standing = house.limits.standing(both)
    assert (standing.remaining_requests, standing.remaining_tokens) == (2, 0)


async def test_where_the_database_fails_nothing_was_taken(house: House) -> None:
    await house.store.aclose()
    (Path(str(house.store._engines.path))).unlink()
    both = Caller(id="key/1", name="both", requests_per_minute=1, tokens_per_day=10)
    for _ in range(3):
        with pytest.raises(DatabaseError):
            await house.limits.admit(both)
    assert house.limits.standing(both).remaining_requests == 1


# Memory


async def test_who_is_forgotten_had_nothing_to_remember(house: House) -> None:
    """Of many callers only those are kept whose bucket is not full or who have a request in progress."""
    limits = Allowance(house.store, lambda: house.seconds, house.now)

    async def come(kind: str, many: int) -> None:
        for number in range(many):
            (await limits.admit(Caller(id=f"{kind}/{number}", name="", requests_per_minute=1))).end()

    in_progress = await limits.admit(THOUSAND)
    in_progress.took(900)
    await come("early", SWEPT - 2)
    house.seconds = 59.0
    await come("late", 1)
    assert len(limits._accounts) == SWEPT
    house.seconds = 60.0
    await come("new", 5)
    assert len(limits._accounts) == 7
    with pytest.raises(LimitReached):
        await come("late", 1)
    assert limits.standing(THOUSAND).remaining_tokens == 100
    in_progress.end()
    house.seconds = 180.0
    await come("last", SWEPT)
    assert len(limits._accounts) <= SWEPT
    assert THOUSAND.id not in limits._accounts


async def test_many_that_are_busy_are_all_remembered(house: House) -> None:
    """And not looked through for each that comes."""
    limits = Allowance(house.store, lambda: house.seconds, house.now)
    for number in range(SWEPT + 1):
        await limits.admit(Caller(id=str(number), name="", requests_per_minute=1))
    assert len(limits._accounts) == SWEPT + 1
    assert limits._sweep_at == 2 * SWEPT


# OpenAI's way to write a time


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1.0, "0s"),
        (0.0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60.0, "1m0s"),
        (360.0, "6m0s"),
        (90.25, "1m30.25s"),
        (3600.0, "1h0m0s"),
        (86399.0, "23h59m59s"),
        (86400.0, "24h0m0s"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
