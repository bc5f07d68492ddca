"""The composition root: start, serve, reload, and leave nothing behind; also where something is in the way."""

import asyncio
import getpass
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.console.client import Client
from adapters.console.socket import answers
from bot.app import App, running
from bot.config import Config, ModelConfig
from bot.errors import ConfigError, DatabaseError, InUse, ModelError, StartError
from bot.messages import Message, Triage
from bot.ports import ChatEngine, Receive
from bot.testing import MemoryAdapter, ScriptedEngine
from storage.store import SqlStore
from tests.house import ADA, DEADLINE, configuration, place, until

PERSONA = "You are a pirate."


def config(folder: Path, **sections: Any) -> Config:
    return configuration(data_dir=folder / "data", **sections)


async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
    return ScriptedEngine()


@asynccontextmanager
async def app(settings: Config, **how: Any) -> AsyncIterator[tuple[App, Client]]:
    """A running app with a scripted model, and a client."""
    async with running(settings, loaders={".fake": load}, **how) as made, Client(settings.socket) as client:
        yield made, client


async def ask(client: Client, text: str) -> str:
    states = [state async for state in client.ask("default", text)]
    return str(states[-1]["text"])


def only(group: BaseException) -> BaseException:
    """The one error in groups of groups."""
    while isinstance(group, BaseExceptionGroup):
        (group,) = group.exceptions
    return group


async def refusal(settings: Config, **how: Any) -> BaseException:
    with pytest.raises((BaseExceptionGroup, StartError)) as caught:
        async with app(settings, **how):
            pytest.fail("it started")
    return only(caught.value)


async def test_a_question_on_the_socket_is_answered(tmp_path: Path) -> None:
    async with app(config(tmp_path)) as (_, client):
        assert await ask(client, "hello") == "You said: hello"
        assert (await ask(client, "/help")).startswith("/help - lists the commands")
        assert "new" in [command["name"] for command in await client.commands()]


async def test_a_client_is_shown_the_end_of_the_conversation(tmp_path: Path) -> None:
    async with app(config(tmp_path)) as (_, client):
        assert await client.line("default") == []
        await ask(client, "hello")
        await ask(client, "/help")
        line = [{"role": "user", "text": "hello"}, {"role": "assistant", "text": "You said: hello"}]
        assert await client.line("default") == line


async def test_a_typed_stop_on_the_socket_has_an_answer(tmp_path: Path) -> None:
    """`hearth say /stop` ends, whether there is something to stop or not."""
    engine = ScriptedEngine()
    engine.stall_after = 3

    async def stalling(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    settings = config(tmp_path)
    async with running(settings, loaders={".fake": stalling}), Client(settings.socket) as client:
        assert await ask(client, "/stop") == "There is nothing to stop."
        asking = asyncio.create_task(ask(client, "hello"))
        await until(lambda: engine.active == 1, "the answer")
        assert await ask(client, "/stop") == "Stopping."
        assert await asking in {"Stopped.", "You"}
        assert engine.active == 0


async def test_health_has_numbers_and_names(tmp_path: Path) -> None:
    async with app(config(tmp_path)) as (made, client):
        await ask(client, "hello")
        await until(lambda: made.dispatcher.in_progress == 0, "the answer's end in the store")
        health = await client.health()
        assert health.pop("seconds") >= 0
        assert health.pop("version")
        assert health == {
            "status": "ok",
            "pid": os.getpid(),
            "in_progress": 0,
            "models": [{"alias": "default", "loaded": True, "error": ""}],
            "adapters": ["console/local"],
            "waiting": 0,
        }


async def test_other_adapters_serve_beside_the_terminal(tmp_path: Path) -> None:
    platform = MemoryAdapter()
    async with app(config(tmp_path), adapters=[("bot", platform)]) as (made, client):
        await platform.say(
            Message(key=place(), event_id="1", author=ADA, text="hi", sent_at=datetime.now(UTC), direct=True)
        )
        await until(lambda: [m.text for m in platform.standing(place())] == ["You said: hi"], "the answer")
        assert platform.commands[0].name == "help"
        assert (await client.health())["adapters"] == ["console/local", "memory/bot"]
        assert made.adapters["memory", "bot"] is platform


class Dying(MemoryAdapter):
    """Dies as soon as it listens."""

    lives = 0

    async def listen(self, receive: Receive) -> None:
        self.lives += 1
        raise RuntimeError("the library has a bug")


async def test_an_adapter_that_dies_leaves_the_others_alone_and_is_told_of(tmp_path: Path) -> None:
    dying = Dying()
    async with app(config(tmp_path), adapters=[("bot", dying)]) as (made, client):
        await until(lambda: dying.lives >= 2, "the second life")
        assert await ask(client, "hello") == "You said: hello"
        await until(lambda: made.health()["status"] == "resting: memory", "its rest")


async def test_an_adapter_that_cannot_start_ends_the_start(tmp_path: Path) -> None:
    class Wrong(MemoryAdapter):
        async def listen(self, receive: Receive) -> None:
            raise StartError("the token is wrong")

    platform = Wrong()
    settings = config(tmp_path)
    with pytest.raises((BaseExceptionGroup, StartError)) as caught:
        async with app(settings, adapters=[("bot", platform)]):
            await asyncio.sleep(DEADLINE)
    assert str(only(caught.value)) == "the token is wrong"
    assert not await answers(settings.socket)


# Starts that fail


async def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    settings = config(tmp_path)
    async with app(settings) as (_, client):
        error = await refusal(settings)
        assert isinstance(error, StartError)
        assert await ask(client, "hello") == "You said: hello"


async def test_a_model_that_cannot_be_loaded_ends_the_start(tmp_path: Path) -> None:
    settings = config(tmp_path, models={"default": {"path": str(tmp_path / "gone.gguf")}})
    error = await refusal(settings)
    assert isinstance(error, ModelError)
    assert "gone.gguf" in str(error)
    async with app(settings, preload=False) as (_, client):
        assert (await ask(client, "/help")).startswith("/help")


async def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    error = await refusal(config(tmp_path))
    assert str(error) == f"{tmp_path}/data is not a directory. HEARTH_DATA_DIR chooses another."
    error = await refusal(config(tmp_path / "data" / "deeper"))
    assert (
        str(error) == f"{tmp_path}/data/deeper/data cannot be made (Not a directory). HEARTH_DATA_DIR chooses another."
    )


async def test_a_database_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hearth.db").write_text("this is no database, and long enough to be seen as none" * 100)
    assert isinstance(await refusal(config(tmp_path)), DatabaseError)


async def test_after_a_failed_start_the_next_one_works(tmp_path: Path) -> None:
    settings = config(tmp_path)
    (settings.data_dir / "run" / "hearth.sock").mkdir(parents=True)
    assert isinstance(await refusal(settings), StartError)
    (settings.data_dir / "run" / "hearth.sock").rmdir()
    async with app(settings) as (_, client):
        assert await ask(client, "hello") == "You said: hello"


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    settings = config(tmp_path)
    before = asyncio.all_tasks()
    async with app(settings) as (_, client):
        await ask(client, "hello")
    await until(lambda: asyncio.all_tasks() == before, "the end of every task")
    assert not settings.socket.exists()
    assert not any("sqlite" in thread.name for thread in threading.enumerate())


async def test_the_data_directory_is_its_owners_alone(tmp_path: Path) -> None:
    settings = config(tmp_path)
    async with app(settings):
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(settings.socket.parent.stat().st_mode) == 0o700


# Reload


async def test_a_reload_brings_personas_and_permissions_and_leaves_the_rest(tmp_path: Path) -> None:
    first = config(tmp_path)
    second = config(
        tmp_path,
        personas={"pirate": {"system": PERSONA}},
        permissions={"allow": ["memory:1"]},
        groups={"names": ["hearth"]},
        log={"level": "debug"},
    )
    async with app(first, reload=lambda: second) as (made, client):
        assert "There is no persona 'pirate'" in await ask(client, "/persona pirate")
        made.reload()
        assert await ask(client, "/persona pirate") == "From now on I am the persona pirate here."
        assert made.config.permissions.allow == ("memory:1",)
        assert made.config.groups.names == ("hearth",)
        assert made.config.log.level == "info"


async def test_a_reload_brings_the_limits_of_the_queues(tmp_path: Path) -> None:
    """Those of a model that is loaded already, and those of the next."""
    settings = config(tmp_path)
    again = config(tmp_path, queue={"per_user": 1, "length": 2}, chat={"drain": 0.5})
    async with app(settings, reload=lambda: again) as (made, _):
        loaded = await made.registry.get("default")
        made.reload()
        assert loaded.scheduler.config.per_user == 1
        assert made.config.queue.length == 2
        assert made.config.chat.drain == 0.5


async def test_a_reload_names_what_waits_for_the_next_start(tmp_path: Path) -> None:
    settings = config(tmp_path)
    same = config(tmp_path, permissions={"deny": ["memory:5"]})
    other = config(tmp_path, retention={"days": 5}, models={"big": {"path": "big.fake"}})
    async with app(settings, reload=[other, same].pop) as (made, _):
        with capture_logs() as logs:
            made.reload()
            made.reload()
        late = [entry["sections"] for entry in logs if entry["event"] == "changes that take effect at the next start"]
        assert late == [["models", "retention"]]
        assert made.config.retention.days == 30


async def test_who_asks_for_the_owner_only_answers_no_questions(tmp_path: Path) -> None:
    """Nobody else finds its socket, and what waits goes on waiting."""
    settings = config(tmp_path)
    store = await SqlStore.open(settings.database_url, default_retention_days=30)
    waiting = Message(key=place(), event_id="1", author=ADA, text="hi", sent_at=datetime.now(UTC), direct=True)
    await store.receive(waiting, Triage.PENDING)
    await store.aclose()
    platform = MemoryAdapter()
    async with (
        running(settings, loaders={".fake": load}, adapters=[("bot", platform)], answering=False) as made,
        Client(made.socket) as client,
    ):
        assert not await answers(settings.socket)
        health = await client.health()
        assert (health["waiting"], health["models"][0]["loaded"]) == (1, False)
        with pytest.raises(InUse, match="another Hearth process"):
            await SqlStore.open(settings.database_url, default_retention_days=30)
    assert not made.socket.exists()
    assert platform.standing(place()) == []


async def test_who_waits_for_an_answer_that_is_forgotten_is_told(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.stall_after = 3

    async def stalling(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    settings = config(tmp_path)
    async with running(settings, loaders={".fake": stalling}), Client(settings.socket) as client:
        shown = client.ask("default", "hello")
        while not (await anext(shown))["text"].startswith("You"):
            pass
        assert (await client.forget("console", getpass.getuser()))["answers"] == 1
        await until(lambda: engine.active == 0, "its end")
        taken_back, last = [state["text"] async for state in shown]
        assert taken_back == ""
        assert last.startswith("No answer comes to this: it was removed")


@pytest.mark.parametrize("found", ["one", "two"])
async def test_processes_on_one_postgresql_have_terminals_of_their_own(
    tmp_path: Path, postgres_url: str, found: str
) -> None:
    """Whichever is asked answers on its own screen, also after a restart."""
    one, two = (config(tmp_path / name, database={"url": postgres_url}) for name in ("one", "two"))
    accounts = []
    for _ in range(2):
        async with app(one) as (first, asked), app(two) as (second, other):
            accounts.append([next(iter(made.adapters))[1] for made in (first, second)])
            for number in range(3):
                assert await ask(asked if found == "one" else other, f"hello {number}") == f"You said: hello {number}"
    assert accounts[0] == accounts[1]
    assert accounts[0][0] != accounts[0][1]
    assert "local" not in accounts[0]


async def test_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    def wrong() -> Config:
        raise ConfigError("config.toml: chat.max_token: unknown key")

    settings = config(tmp_path)
    async with app(settings, reload=wrong) as (made, client):
        made.reload()
        assert made.config == settings
        assert await ask(client, "hello") == "You said: hello"


# The process


def hearth(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HEARTH_DATA_DIR": str(folder / "data")} | environ
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )


def test_a_mistake_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    done = hearth(tmp_path, "say", "hi", HEARTH_CHAT__MAX_TOKEN="5")
    assert done.returncode == 1
    assert done.stderr == "hearth: the environment: chat.max_token: unknown key; did you mean 'max_tokens'?\n"


def test_a_start_that_fails_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone.gguf"
    done = hearth(tmp_path, "say", "hi", HEARTH_MODELS__DEFAULT__PATH=str(gone))
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("hearth: ")] == done.stderr.splitlines()[-1:]
    assert "Traceback" not in done.stderr


TRACE = """
import structlog, sys
from bot.app import configure_logging
from bot.config import LogConfig
configure_logging(LogConfig(format=sys.argv[1]))
def fail(text):
    raise RuntimeError("a bug")
try:
    fail("xyzzy" * 2)
except RuntimeError:
    structlog.get_logger().exception("attempt failed", conversation="memory/bot/chat")
structlog.get_logger().debug("seen", text="plugh")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_trace_in_the_log_shows_no_values(form: str) -> None:
    """Local variables hold what people wrote."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRACE, form],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "RuntimeError: a bug" in done.stderr
    assert "memory/bot/chat" in done.stderr
    assert "xyzzyxyzzy" not in done.stderr
    assert "plugh" not in done.stderr
    if form == "json":
        assert json.loads(done.stderr)["event"] == "attempt failed"
