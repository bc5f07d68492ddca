"""Whether a running process is ready, and what is scraped of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.app import App, running
from bot.config import Config, ModelConfig
from bot.engines.remote import Health, RemoteEngine
from bot.errors import DatabaseError, EngineError, ModelError
from bot.messages import Message
from bot.ports import ChatEngine, Receive
from bot.testing import MemoryAdapter, ScriptedEngine
from bot.vitals import Vitals
from storage.store import SqlStore
from tests.house import ADA, DEADLINE, configuration, house, place, until
from tests.model_server import ModelServer, answer, breaks_off, refuses, serving, words


def config(folder: Path, **sections: Any) -> Config:
    return configuration(data_dir=folder / "data", web={"enabled": False}, **sections)


async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
    return ScriptedEngine(name=f"{alias}@000000000000")


@asynccontextmanager
async def app(settings: Config, **how: Any) -> AsyncIterator[App]:
    how.setdefault("loaders", {".fake": load})
    async with running(settings, **how) as made:
        yield made


async def scraped(made: App) -> dict[str, float]:
    """Samples by name and labels, as they are written."""
    return scraped_from(await made.scrape())


def scraped_from(text: bytes) -> dict[str, float]:
    """The same, of a scrape."""
    families = text_string_to_metric_families(text.decode())
    return {
        s.name + "".join(f" {label}={text}" for label, text in sorted(s.labels.items())): s.value
        for family in families
        for s in family.samples
    }


async def test_a_process_is_ready_once_it_serves(tmp_path: Path) -> None:
    async with app(config(tmp_path)) as made:
        assert await made.readiness() == {
            "ready": True,
            "database": True,
            "model": True,
            "adapters": True,
            "accepting": True,
            "waiting": 0,
        }


async def test_a_database_that_fails_is_not_ready(tmp_path: Path) -> None:
    class Broken(SqlStore):
        async def pending(self, conversation: int | None = None) -> int:
            raise DatabaseError("the disk is gone")

    async with app(config(tmp_path), store=Broken) as made:
        readiness = await made.readiness()
        assert (readiness["ready"], readiness["database"], readiness["waiting"]) == (False, False, None)
        assert (await scraped(made))["hearth_ready"] == 0


async def test_a_default_model_that_cannot_be_loaded_is_not_ready(tmp_path: Path) -> None:
    async def fail(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        raise ModelError("scripted.fake: damaged")

    async with app(config(tmp_path), loaders={".fake": fail}, preload=False) as made:
        assert (await made.readiness())["model"] is False
        await asyncio.gather(made.registry.get("default"), return_exceptions=True)
        assert (await made.readiness())["model"] is False
        assert (await made.readiness())["ready"] is False


async def test_a_default_model_that_made_room_for_another_is_ready(tmp_path: Path) -> None:
    settings = configuration(models={"other": {"path": "other.fake"}}, engine={"loaded_models": 1})
    async with house(tmp_path, settings) as h:
        vitals = Vitals(h.store, h.registry, h.dispatcher, {}, h.metrics)
        assert (await vitals.readiness())["ready"] is False
        await h.registry.get("default")
        await h.registry.get("other")
        assert [model.loaded for model in h.registry.describe()] == [False, True]
        assert (await vitals.readiness())["ready"] is True


async def test_a_default_model_all_of_whose_servers_fail_is_not_ready_until_one_may_be_asked(tmp_path: Path) -> None:
    async with serving(ModelServer()) as one, serving(ModelServer()) as two:
        settings = config(tmp_path, models={"default": {"urls": [one.url, two.url]}})
        async with app(settings) as made:
            assert made.registry.describe()[0].servers == Health(well=2, failing=0, would_answer=True)
            loaded = await made.registry.get("default")
            assert isinstance(loaded.engine, RemoteEngine)
            for server in (one, two):
                server.faults.extend([refuses(503, **{"Retry-After": "200"})] * 9)
            with pytest.raises(EngineError):
                await answer(loaded.engine)
            assert (await made.readiness())["model"] is False
            samples = await scraped(made)
            assert samples["hearth_ready"] == 0
            assert samples["hearth_model_servers model=default state=well"] == 0
            assert samples["hearth_model_servers model=default state=failing"] == 2
            loaded.engine._pool.servers[0].closed_until = 0.0  # its time is over
            assert (await made.readiness())["ready"] is True
            samples = await scraped(made)
            assert samples["hearth_model_servers model=default state=well"] == 1
            assert samples["hearth_model_servers model=default state=failing"] == 1


async def test_a_default_model_whose_only_server_rests_is_not_ready(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(ModelServer()))
        made = await stack.enter_async_context(app(config(tmp_path, models={"default": {"url": server.url}})))
        loaded = await made.registry.get("default")
        assert isinstance(loaded.engine, RemoteEngine)
        [known] = loaded.engine._pool.servers
        server.faults.append(breaks_off(words("Hel")))
        with pytest.raises(EngineError):
            await answer(loaded.engine)
        known.rests_until += 3600
        assert (await made.readiness())["model"] is False
        known.rests_until = 0.0  # its time is over
        assert (await made.readiness())["model"] is True
        assert (await scraped(made))["hearth_model_servers model=default state=failing"] == 1
        await answer(loaded.engine)
        assert (await scraped(made))["hearth_model_servers model=default state=failing"] == 0


class Dying(MemoryAdapter):
    """Dies as soon as it listens."""

    async def listen(self, receive: Receive) -> None:
        raise RuntimeError("the library has a bug")


async def test_an_adapter_that_rests_is_not_ready_and_its_death_is_counted(tmp_path: Path) -> None:
    async with app(config(tmp_path), adapters=[("bot", Dying())]) as made:
        await until(lambda: made.health()["status"] != "ok", "its rest")
        assert (await made.readiness())["adapters"] is False
        samples = await scraped(made)
        assert samples["hearth_adapter_listening account=bot platform=memory"] == 0
        assert samples["hearth_adapter_listening account=local platform=console"] == 1
        assert samples["hearth_errors_total kind=RuntimeError"] >= 1


async def test_a_process_that_drains_is_not_ready(tmp_path: Path) -> None:
    async with app(config(tmp_path)) as made:
        await made.dispatcher.drain(0)
        readiness = await made.readiness()
        assert (readiness["ready"], readiness["accepting"]) == (False, False)


async def test_a_scrape_has_the_numbers_of_the_moment_and_those_that_were_counted(tmp_path: Path) -> None:
    platform = MemoryAdapter()
    async with app(config(tmp_path), adapters=[("bot", platform)]) as made:
        await platform.say(
            Message(key=place(), event_id="1", author=ADA, text="hello", sent_at=datetime.now(UTC), direct=True)
        )
        await until(lambda: bool(platform.standing(place())), "the answer")
        await until(lambda: made.dispatcher.in_progress == 0, "its end in the store")
        samples = await scraped(made)
        assert samples["hearth_ready"] == 1
        assert samples["hearth_questions_open"] == 0
        assert samples["hearth_answers_in_progress"] == 0
        assert samples["hearth_model_loaded model=default"] == 1
        assert samples["hearth_queue_length model=default"] == 0
        assert samples["hearth_adapter_listening account=bot platform=memory"] == 1
        assert samples["hearth_answers_total outcome=done platform=memory"] == 1
        assert samples["hearth_queue_seconds_count model=default"] == 1
        assert samples["hearth_database_seconds_count kind=write"] > 3
        assert samples["process_resident_memory_bytes"] > 2**20


async def test_the_answers_of_a_model_with_two_names_are_counted_once_and_under_one_of_them(tmp_path: Path) -> None:
    engine = ScriptedEngine(name="own@000000000000")
    engine.stall_after = 3
    async with house(tmp_path, configuration(models={"own": {"path": "scripted.fake"}}), engine=engine) as h:
        vitals = Vitals(h.store, h.registry, h.dispatcher, {}, h.metrics)
        await h.say("hello")
        await until(lambda: engine.active == 1, "its answer to begin")
        samples = scraped_from(await vitals.scrape())
        assert {name: value for name, value in samples.items() if name.startswith("hearth_model_")} == {
            "hearth_model_loaded model=default": 1,
            "hearth_model_loaded model=own": 1,
            "hearth_model_answers model=own": 1,
        }
        assert [name for name in samples if name.startswith("hearth_queue_length")] == ["hearth_queue_length model=own"]
        engine.resume.set()
        await h.settled()
        samples = scraped_from(await vitals.scrape())
        assert samples["hearth_queue_seconds_count model=own"] == 1
        assert samples["hearth_tokens_total kind=generated model=own"] > 0
        assert not [name for name in samples if name.startswith("hearth_tokens") and "model=default" in name]


async def test_the_loop_is_watched_while_a_process_answers(tmp_path: Path) -> None:
    async with app(config(tmp_path)) as made:
        async with asyncio.timeout(DEADLINE):
            while (await scraped(made))["hearth_loop_lag_seconds_count"] == 0:
                await asyncio.sleep(0.05)


async def test_the_local_socket_tells_why_a_process_is_not_ready_and_its_metrics(tmp_path: Path) -> None:
    settings = config(tmp_path)
    connector = aiohttp.UnixConnector(str(settings.socket))
    async with app(settings) as made, aiohttp.ClientSession("http://hearth", connector=connector) as http:
        async with http.get("/readyz") as response:
            assert (response.status, (await response.json())["ready"]) == (200, True)
        async with http.get("/metrics") as response:
            assert response.content_type == "text/plain"
            assert b"\nhearth_ready 1.0\n" in await response.read()
        await made.dispatcher.drain(0)
        async with http.get("/readyz") as response:
            assert (response.status, (await response.json())["accepting"]) == (503, False)
