"""What the store promises about people who were let in, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bot.ports import Forgotten
from storage.known import REMEMBERED, Known
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import CHAT, answer, ask


async def test_nobody_is_paired_who_was_not_let_in(store: SqlStore) -> None:
    assert not await store.is_paired("telegram", "ann")
    await store.pair("telegram", "ann")
    for platform, person in (("telegram", "ben"), ("discord", "ann"), ("telegram", "an"), ("telegram", "Ann")):
        assert not await store.is_paired(platform, person)


async def test_it_outlives_the_process(open_store: OpenStore) -> None:
    store = await open_store()
    await store.pair("telegram", "ann")
    await store.aclose()
    assert await (await open_store()).is_paired("telegram", "ann")


async def test_once_more_changes_nothing(store: SqlStore, clock: Clock) -> None:
    at = clock.now
    await asyncio.gather(*(store.pair("telegram", "ann") for _ in range(5)))
    clock.pass_(hours=1)
    await store.pair("telegram", "ann")
    assert (await store.export("telegram", "ann")).data["paired_at"] == at.isoformat()


async def test_who_is_forgotten_is_a_stranger_again(store: SqlStore) -> None:
    """Also who was known in memory, and who never wrote anything else; others stay."""
    for person in ("ann", "ben"):
        await store.pair("telegram", person)
        assert await store.is_paired("telegram", person)
    assert await store.forget_person("telegram", "ann") == Forgotten(messages=0, answers=0)
    assert not await store.is_paired("telegram", "ann")
    assert await store.is_paired("telegram", "ben")
    assert (await store.export("telegram", "ann")).data["paired_at"] is None


async def test_it_goes_with_the_command_whose_word_is_still_to_be_said(store: SqlStore) -> None:
    await store.pair("telegram", "ann")
    await ask(store, "1", "one", key=CHAT)
    claim = await store.claim("worker", lease=60)
    assert claim is not None
    assert await store.is_paired("telegram", "ann")
    await store.forget_person("telegram", "ann", but=claim.id)
    assert not await store.is_paired("telegram", "ann")


async def test_who_is_let_in_again_is_in_again(store: SqlStore) -> None:
    await store.pair("telegram", "ann")
    await store.forget_person("telegram", "ann")
    await store.pair("telegram", "ann")
    assert await store.is_paired("telegram", "ann")


async def test_time_does_not_end_it(store: SqlStore, clock: Clock) -> None:
    await store.pair("telegram", "ann")
    await ask(store, "1")
    await answer(store)
    clock.pass_(days=400)
    await store.expire(clock.now, 30)
    assert await store.is_paired("telegram", "ann")


class TestKnown:
    """In memory: who was found, for as long as nobody else can have forgotten them."""

    def test_for_so_long(self) -> None:
        now = 0.0
        known: Known[tuple[str, str], bool] = Known(60.0, lambda: now)
        known.note(("telegram", "ann"), True, known.forgotten)
        assert ("telegram", "ann") in known
        assert ("telegram", "ben") not in known
        now = 60.0
        assert ("telegram", "ann") not in known

    def test_a_look_up_during_which_somebody_was_forgotten_is_not_noted(self) -> None:
        known: Known[tuple[str, str], bool] = Known(60.0)
        began = known.forgotten
        known.forget(("telegram", "ann"))
        known.note(("telegram", "ann"), True, began)
        assert ("telegram", "ann") not in known

    def test_not_more_than_so_many(self) -> None:
        known: Known[tuple[str, str], bool] = Known(60.0)
        for number in range(REMEMBERED + 5):
            known.note(("telegram", str(number)), True, known.forgotten)
        assert len(known) == 5


async def test_processes_that_share_a_database_know_it_too(postgres_url: str) -> None:
    one, two = [await SqlStore.open(postgres_url, default_retention_days=30) for _ in range(2)]
    assert not await two.is_paired("telegram", "ann")
    await one.pair("telegram", "ann")
    assert await two.is_paired("telegram", "ann")
    for store in (one, two):
        await store.aclose()


async def test_sqlite_keeps_no_byte_of_who_is_forgotten(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    await store.pair("telegram", "xyzzy")
    await store.forget_person("telegram", "xyzzy")
    assert [path.name for path in tmp_path.iterdir() if path.is_file() and b"xyzzy" in path.read_bytes()] == []
    await store.aclose()


async def test_who_is_known_costs_no_look_up(database_url: str) -> None:
    looks: list[str] = []
    store = await SqlStore.open(
        database_url, default_retention_days=30, measured=lambda kind, _, __: looks.append(kind)
    )
    await store.pair("telegram", "ann")
    for _ in range(5):
        assert await store.is_paired("telegram", "ann")
    assert looks == ["write", "read"]
    await store.aclose()
