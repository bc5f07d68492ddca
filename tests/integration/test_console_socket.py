"""The local socket: one process at a time, its owner's alone; and the owner's requests on it."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.console.operator import Operator
from adapters.console.socket import answers
from bot.errors import DatabaseError, StartError
from bot.messages import Message, Triage
from bot.ports import Forgotten
from storage.store import SqlStore
from tests.console import GROWING, LOCAL, Bot, ask, console, plain, post
from tests.house import ADA


async def test_the_sockets_directory_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, _):
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
        assert await answers(tmp_path / "run" / "hearth.sock")
    assert not (tmp_path / "run" / "hearth.sock").exists()


async def test_a_second_process_on_the_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, client):
        with pytest.raises(StartError, match="Another Hearth process answers on"):
            await plain(tmp_path / "run" / "hearth.sock").listen(bot.receive)
        assert (await ask(client))[-1]["text"] == "Hello."


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hearth.sock").write_text("")
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, client):
        assert (await ask(client))[-1]["text"] == "Hello."


async def test_a_link_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="is not a directory of yours"):
        await plain(tmp_path / "run" / "hearth.sock").listen(Bot().receive)


async def test_a_place_where_no_socket_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be made or used"):
        await plain(tmp_path / "file" / "hearth.sock").listen(Bot().receive)
    with pytest.raises(StartError, match="cannot be opened"):
        await plain(tmp_path / "run" / ("x" * 200)).listen(Bot().receive)


# The owner's requests


async def test_the_owner_looks_after_the_store(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    removed: list[Forgotten] = []
    operator = Operator(store, lambda: {"status": "ok", "pid": 5}, removed.append)
    bot = Bot()
    async with console(tmp_path, bot.receive, operator) as (bot.console, client):
        assert await client.health() == {"status": "ok", "pid": 5, "waiting": 0}
        assert await client.usage() == []
        assert (await client.export("memory", "a/b c?"))["person"] == {"platform": "memory", "id": "a/b c?"}
        assert await client.forget("memory", "1") == {"messages": 0, "answers": 0}
        assert removed == [Forgotten(messages=0, answers=0)]
        await client.backup(tmp_path / "copy.db")
        assert (tmp_path / "copy.db").stat().st_size > 0
        assert await post(tmp_path, "/backup", {}) == (400, "target: must be text")
        with pytest.raises(StartError):
            await client.backup(tmp_path / "no" / "such" / "folder.db")
    await store.aclose()


async def test_a_look_at_a_conversation_makes_none(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    bot = Bot()
    async with console(tmp_path, bot.receive, Operator(store, dict, print)) as (bot.console, client):
        assert await client.line("default") == []
        assert await store.find_conversation(LOCAL) is None
        message = Message(key=LOCAL, event_id="1", author=ADA, text="hi", sent_at=datetime.now(UTC), direct=True)
        await store.receive(message, Triage.PENDING)
        made = await store.find_conversation(LOCAL)
        assert made is not None
        assert made.key == LOCAL
        assert await store.claim("worker", lease=60.0) is not None
        assert await client.line("default") == []
    await store.aclose()


async def test_a_bad_health_is_told_and_not_raised(tmp_path: Path) -> None:
    class Broken(SqlStore):
        async def pending(self, conversation: int | None = None) -> int:
            raise DatabaseError("the file is damaged; restore a backup")

    store = await Broken.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    bot = Bot()
    async with console(tmp_path, bot.receive, Operator(store, lambda: {"status": "ok"}, print)) as (
        bot.console,
        client,
    ):
        assert await client.health() == {
            "status": "the database fails",
            "database": "the file is damaged; restore a backup",
        }
    await store.aclose()
