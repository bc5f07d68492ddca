"""What the store promises about the API's keys and counters, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.api import ApiStore, ApiUse, Caller, Key, key_caller
from bot.api_door import new_secret
from bot.generation import Usage
from storage.api_usage import LONGEST_USER, USERS_A_DAY, Users
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore

CALLER = Caller(id="key/1", name="website")
OTHER = Caller(id="key/2", name="notebook")
USE = ApiUse(
    caller=CALLER,
    endpoint="chat",
    model="default",
    user="u1",
    usage=Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=3),
)
ROW = {
    "day": "2026-03-01",
    "key": "website",
    "user": "u1",
    "endpoint": "chat",
    "model": "default",
    "requests": 1,
    "prompt_tokens": 10,
    "cached_tokens": 4,
    "completion_tokens": 3,
    "audio_seconds": 0.0,
}


async def made(store: ApiStore, name: str = "website") -> tuple[str, Key]:
    secret = new_secret()
    return secret, await store.add_key(secret, name=name)


class TestKeys:
    """A key is found by its secret, which is kept nowhere; it is refused for good once it was revoked."""

    async def test_a_key_is_all_that_was_said_of_it(self, store: SqlStore, clock: Clock) -> None:
        secret, until = new_secret(), datetime(2026, 6, 1, tzinfo=UTC)
        key = await store.add_key(
            secret,
            name="website",
            organisation="org-acme",
            models=("default", "big"),
            requests_per_minute=60,
            tokens_per_day=10**12,
            expires_at=until,
        )
        assert key == Key(
            id=key.id,
            name="website",
            hint=f"{secret[:6]}...{secret[-4:]}",
            organisation="org-acme",
            models=("default", "big"),
            requests_per_minute=60,
            tokens_per_day=10**12,
            created_at=clock.now,
            expires_at=until,
        )
        assert await store.find_key(secret) == key
        assert await store.keys() == [key]

    async def test_it_is_there_at_the_next_start(self, open_store: OpenStore) -> None:
        store = await open_store()
        secret, key = await made(store)
        await store.aclose()
        assert await (await open_store()).find_key(secret) == key

    async def test_nobody_has_another_secret(self, store: SqlStore) -> None:
        secret, key = await made(store)
        for other in (secret[:-1], secret.swapcase(), secret + " ", "", key.hint, "\udcff", "a\x00"):
            assert await store.find_key(other) is None

    async def test_a_name_is_given_once(self, store: SqlStore) -> None:
        _, key = await made(store)
        with pytest.raises(ValueError, match="there is a key 'website' already"):
            await made(store)
        await made(store, "notebook")
        assert await store.keys() == [key, (await store.keys())[1]]

    async def test_of_many_that_want_a_name_at_once_one_gets_it(self, store: SqlStore) -> None:
        tries = await asyncio.gather(*(made(store) for _ in range(5)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in tries) == ["ValueError"] * 4 + ["tuple"]
        assert len(await store.keys()) == 1

    async def test_who_is_revoked_is_known_as_such_at_once(self, store: SqlStore, clock: Clock) -> None:
        secret, key = await made(store)
        assert await store.find_key(secret) == key
        clock.pass_(hours=1)
        gone = replace(key, revoked_at=clock.now)
        assert await store.revoke_key("website") == gone
        assert await store.find_key(secret) == gone
        assert await store.keys() == [gone]

    async def test_what_is_no_key_cannot_be_revoked(self, store: SqlStore) -> None:
        await made(store)
        assert await store.revoke_key("notebook") is None
        assert await store.revoke_key("website") is not None
        assert await store.revoke_key("website") is None

    async def test_a_revoked_key_s_name_may_be_given_again(self, store: SqlStore) -> None:
        old, _ = await made(store)
        await store.revoke_key("website")
        new, key = await made(store)
        await store.revoke_key("notebook")
        assert await store.find_key(new) == key
        known = await store.find_key(old)
        assert known is not None
        assert known.revoked_at is not None
        assert [one.name for one in await store.keys()] == ["website", "website"]

    async def test_there_are_keys_from_the_first_one_on(self, open_store: OpenStore) -> None:
        """Also when all of them were revoked: what was closed does not open by itself."""
        store = await open_store()
        assert not await store.has_keys()
        await made(store)
        assert await store.has_keys()
        await store.revoke_key("website")
        assert await store.has_keys()
        await store.aclose()
        assert await (await open_store()).has_keys()

    async def test_what_was_asked_about_lately_costs_no_look_up(self, database_url: str) -> None:
        looks: list[str] = []
        store = await SqlStore.open(
            database_url, default_retention_days=30, measured=lambda kind, _, __: looks.append(kind)
        )
        secret, _ = await made(store)
        looks.clear()
        for _ in range(5):
            assert await store.find_key(secret)
            assert await store.has_keys()
        assert looks == ["read", "read"]
        await store.aclose()

    async def test_its_last_use_is_known_to_the_minute_and_written_once_in_each(
        self, database_url: str, clock: Clock
    ) -> None:
        looks: list[str] = []
        store = await SqlStore.open(
            database_url, default_retention_days=30, clock=clock, measured=lambda kind, _, __: looks.append(kind)
        )
        _, key = await made(store)
        first = clock.now
        looks.clear()
        for seconds in (0, 20, 39):
            clock.now = first + timedelta(seconds=seconds)
            await store.note_key_use(key.id)
        assert looks == ["write"]
        assert (await store.keys())[0].used_at == first
        clock.now = first + timedelta(seconds=61)
        looks.clear()
        await asyncio.gather(*(store.note_key_use(key.id) for _ in range(5)))
        assert looks == ["write"]
        assert (await store.keys())[0].used_at == first + timedelta(minutes=1)
        await store.aclose()


async def test_processes_that_share_a_database_know_each_others_keys(postgres_url: str) -> None:
    one, two = [await SqlStore.open(postgres_url, default_retention_days=30) for _ in range(2)]
    assert not await two.has_keys()
    secret, key = await made(one)
    assert await two.find_key(secret) == key
    with pytest.raises(ValueError, match="already"):
        await made(two)
    await two.note_key_use(key.id)
    await one.note_key_use(key.id)
    for store in (one, two):
        await store.aclose()


class TestUsage:
    """Counts by day, caller, user, endpoint and model; nothing else is kept of a request."""

    async def test_a_request_is_counted(self, store: SqlStore) -> None:
        await store.count_api_use(USE)
        assert await store.api_usage() == [ROW]

    async def test_equal_ones_are_added_up(self, store: SqlStore) -> None:
        heard = ApiUse(caller=CALLER, endpoint="transcriptions", model="whisper", seconds=1.25)
        await asyncio.gather(*(store.count_api_use(use) for use in [USE] * 20 + [heard] * 3))
        talk, hearing = sorted(await store.api_usage(), key=lambda row: str(row["endpoint"]))
        assert talk == ROW | {"requests": 20, "prompt_tokens": 200, "cached_tokens": 80, "completion_tokens": 60}
        nothing = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"), 0)
        assert hearing == ROW | nothing | {
            "user": "",
            "endpoint": "transcriptions",
            "model": "whisper",
            "requests": 3,
            "audio_seconds": 3.75,
        }

    @pytest.mark.parametrize(
        "other",
        [
            replace(USE, caller=OTHER),
            replace(USE, user="u2"),
            replace(USE, endpoint="completions"),
            replace(USE, model="big"),
        ],
    )
    async def test_others_have_counts_of_their_own(self, store: SqlStore, other: ApiUse) -> None:
        await store.count_api_use(USE)
        await store.count_api_use(other)
        assert sorted(row["requests"] for row in await store.api_usage()) == [1, 1]  # type: ignore[type-var]

    async def test_days_are_those_of_utc_newest_first(self, store: SqlStore, clock: Clock) -> None:
        for day in (28, 27):
            clock.now = datetime(2026, 2, day, 23, 59, tzinfo=UTC)
            await store.count_api_use(USE)
        clock.now = datetime(2026, 3, 1, tzinfo=UTC)
        await store.count_api_use(USE)
        assert [row["day"] for row in await store.api_usage()] == ["2026-03-01", "2026-02-28", "2026-02-27"]

    async def test_one_caller_s_alone(self, store: SqlStore) -> None:
        await store.count_api_use(USE)
        await store.count_api_use(replace(USE, caller=OTHER))
        assert await store.api_usage(caller=CALLER.id) == [ROW]

    async def test_keys_that_had_one_name_after_each_other_are_one_row(self, store: SqlStore) -> None:
        for number in (1, 2):
            await store.count_api_use(replace(USE, caller=replace(CALLER, id=key_caller(number))))
        assert [row["requests"] for row in await store.api_usage()] == [2]

    async def test_tokens_of_today(self, store: SqlStore, clock: Clock) -> None:
        assert await store.api_tokens_today(CALLER.id) == 0
        await store.count_api_use(USE)
        await store.count_api_use(replace(USE, user="u2", model="big"))
        await store.count_api_use(replace(USE, caller=OTHER))
        assert await store.api_tokens_today(CALLER.id) == 26
        clock.pass_(hours=12)
        assert await store.api_tokens_today(CALLER.id) == 0

    async def test_whatever_a_program_calls_its_users(self, store: SqlStore) -> None:
        names = ["", "x" * LONGEST_USER, "x" * 100_000, "y" * 100_000, "\U0001f600" * LONGEST_USER, "a\x00\udcff"]
        for name in names * 2:
            await store.count_api_use(replace(USE, user=name))
        rows = await store.api_usage()
        assert [row["requests"] for row in rows] == [2] * 6
        users = {str(row["user"]) for row in rows}
        assert {"", "x" * LONGEST_USER, "\U0001f600" * LONGEST_USER, "a\ufffd\ufffd"} < users
        assert sum(user.startswith("sha256:") for user in users) == 2

    def test_so_many_users_have_counts_of_their_own_in_a_day(self) -> None:
        users = Users()
        names = [users.name("key/1", str(number), 7) for number in range(USERS_A_DAY + 2)]
        assert names[-3:] == [str(USERS_A_DAY - 1), "", ""]
        assert users.name("key/1", "5", 7) == "5"
        assert users.name("key/2", "5", 7) == ""
        assert users.name("key/2", "5", 8) == "5"

    async def test_time_does_not_end_them(self, store: SqlStore, clock: Clock) -> None:
        await store.count_api_use(USE)
        clock.pass_(days=400)
        await store.expire(clock.now, 30)
        assert await store.api_usage() == [ROW]
