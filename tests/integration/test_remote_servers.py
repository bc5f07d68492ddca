"""A model on several servers: which one is asked, what does not fit, and what a server says of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.config import QueueConfig, RemoteModelConfig
from bot.engines.registry import Registry
from bot.engines.remote import Patience, RemoteEngine, servers
from bot.engines.remote.engine import _keys
from bot.errors import EngineTimeout, ModelError, TooLong
from bot.generation import ChatMessage, Generation
from bot.testing import ScriptedEngine
from tests.house import DEADLINE, until
from tests.model_server import (
    HELLO,
    Fault,
    ModelServer,
    answer,
    breaks_off,
    pauses,
    refuses,
    remote,
    served,
    serving,
    words,
)


def talk(n: int, *, turns: int = 1, size: int = 0) -> Generation:
    """The n-th conversation after so many answers; with one more it goes on where it was."""
    said = [ChatMessage("user", f"{n}.0 {'x' * size} and now?")]
    for turn in range(1, turns + 1):
        said += [ChatMessage("assistant", f"answer {turn}"), ChatMessage("user", f"{n}.{turn} {'x' * size} and now?")]
    return Generation(messages=(HELLO[0], *said), max_tokens=50)


@pytest.fixture
def long_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that fails rests for longer than a test takes on any machine."""
    monkeypatch.setattr(servers, "REST_SECONDS", 3600.0)
    monkeypatch.setattr(servers, "REST_MOST", 3600.0)


class TestSeveralServers:
    async def test_when_one_dies_the_other_answers(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine:
            for n in range(8):
                await answer(engine, talk(n))
            assert one.asked
            assert two.asked
            before = len(two.asked)
            one.faults.extend([breaks_off()] * 99)
            results = await asyncio.gather(*(answer(engine, talk(n)) for n in range(8)))
            assert all(text.endswith("and now?") for text, _ in results)
            assert len(two.asked) == before + 8

    @pytest.mark.usefixtures("long_rests")
    async def test_a_dead_server_is_left_alone_and_asked_again_later(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine:
            one.faults.append(refuses(500))
            for n in range(8):
                await answer(engine, talk(n))
            assert len(one.asked) == 1
            for server in engine._pool.servers:
                server.rests_until = 0.0  # its time is over
            for n in range(8, 24):
                await answer(engine, talk(n))
            assert len(one.asked) > 1

    async def test_a_wrong_server_among_right_ones_is_passed_over(self) -> None:
        closed, two = ModelServer(key="other"), ModelServer()
        async with served(closed, two, remote_model="stand-in-7b", context_length=4096) as engine:
            for n in range(8):
                assert (await answer(engine, talk(n)))[0].endswith("and now?")

    async def test_load_goes_to_the_idlest(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine:
            one.engine.stall_after = two.engine.stall_after = 3
            tasks = [asyncio.create_task(answer(engine, talk(n))) for n in range(10)]
            await until(lambda: one.engine.active + two.engine.active == 10, "all to be answered")
            assert one.engine.active == two.engine.active == 5
            one.engine.resume.set()
            two.engine.resume.set()
            await asyncio.gather(*tasks)

    async def test_a_conversation_goes_back_to_its_server_whose_cache_knows_it(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine:
            for turns in range(1, 6):
                finish = (await answer(engine, talk(7, turns=turns)))[1]
                assert turns == 1 or finish.usage.cached_tokens > 20
            assert sorted([len(one.asked), len(two.asked)]) == [0, 5]

    async def test_unless_that_one_has_much_more_to_do(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine:
            await answer(engine, talk(7))
            own, other = (one, two) if one.asked else (two, one)
            own.engine.stall_after = 3
            tasks = [asyncio.create_task(answer(engine, talk(7))) for _ in range(4)]
            await until(lambda: own.engine.active == 4, "its server to be busy")
            await answer(engine, talk(7, turns=2))
            assert len(other.asked) == 1
            own.engine.resume.set()
            await asyncio.gather(*tasks)

    async def test_one_that_asks_for_time_is_left_to_rest_while_the_other_answers(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine:
            one.faults.append(refuses(429, **{"Retry-After": "600"}))
            for n in range(8):
                await answer(engine, talk(n))
            assert len(one.asked) == 1
            two.faults.append(refuses(500))
            assert (await answer(engine, talk(8)))[0].endswith("and now?")


class TestASilentServer:
    """It takes the question and says nothing."""

    @pytest.mark.parametrize(
        "silence",
        [pauses(), pauses(b": welcome\n\n"), pauses(b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n')],
        ids=["no status", "a comment", "a role"],
    )
    @pytest.mark.usefixtures("long_rests")
    async def test_every_answer_comes_from_the_other(self, silence: Fault) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two, patience=Patience(silence=0.05)) as engine, asyncio.timeout(DEADLINE):
            one.faults.extend([silence] * 99)
            first = first_asked_of(engine, one)
            for n in range(first, first + 9):
                assert (await answer(engine, talk(n)))[0].endswith("and now?")
            assert len(two.asked) == 9
            assert len(one.asked) <= 1  # on a busy machine it is given up before it has read the question

    async def test_it_is_left_as_soon_as_there_is_another(self) -> None:
        """The other rests when the question comes."""
        one, two = ModelServer(), ModelServer()
        async with served(one, two, patience=Patience(silence=0.05)) as engine, asyncio.timeout(DEADLINE):
            one.faults.append(pauses())
            other = engine._pool.servers[1]
            other.rests_until = asyncio.get_running_loop().time() + 3600
            task = asyncio.create_task(answer(engine, talk(0)))
            await until(lambda: len(one.asked) == 1, "the question at the silent server")
            other.rests_until = 0.0  # its time is over
            assert (await task)[0].endswith("and now?")
            assert len(two.asked) == 1

    async def test_it_is_waited_for_where_there_is_no_other(self) -> None:
        server = ModelServer()
        async with served(server, patience=Patience(silence=0.05)) as engine, asyncio.timeout(DEADLINE):
            server.engine.stall_in_prefill = True
            task = asyncio.create_task(answer(engine, talk(0)))
            await until(lambda: server.engine.active == 1, "the server to begin")
            await asyncio.sleep(0.2)
            server.engine.resume.set()
            assert (await task)[0].endswith("and now?")
            assert len(server.asked) == 1

    async def test_after_its_rest_it_gets_one_question_until_it_answers(self) -> None:
        one, two = ModelServer(), ModelServer()
        async with served(one, two) as engine, asyncio.timeout(DEADLINE):
            engine._pool.servers[0].failed("silent")
            engine._pool.servers[0].rests_until = 0.0  # its time is over
            for shares, first in [((1, 9), 0), ((5, 5), 10)]:
                for server in (one, two):
                    server.engine.stall_in_prefill = True
                    server.engine.resume.clear()
                tasks = [asyncio.create_task(answer(engine, talk(n))) for n in range(first, first + 10)]
                await until(lambda: one.engine.active + two.engine.active == 10, "all to be read")
                assert (one.engine.active, two.engine.active) == shares
                one.engine.resume.set()
                two.engine.resume.set()
                await asyncio.gather(*tasks)

    @pytest.mark.parametrize("before", [b"", words("Hel")], ids=["before the first words", "after them"])
    @pytest.mark.parametrize("changed", [False, True], ids=["from the start", "after a reload"])
    async def test_it_rests_when_the_queue_gave_it_up_sooner(
        self, tmp_path: Path, changed: bool, before: bytes
    ) -> None:
        short = QueueConfig(first_token_timeout=0.4, stall_timeout=0.4)
        async with serving(ModelServer()) as server, asyncio.timeout(DEADLINE):
            models = {"default": RemoteModelConfig(urls=(server.url,))}
            registry = Registry(models, QueueConfig() if changed else short, tmp_path)
            loaded = await registry.get("default")
            registry.set_limits(short)
            server.faults.append(pauses(before) if before else pauses())
            async with loaded.scheduler.ticket("ada") as ticket:
                with pytest.raises(EngineTimeout):
                    async for _ in ticket.stream(talk(0)):
                        pass
            assert isinstance(loaded.engine, RemoteEngine)
            assert loaded.engine._pool.servers[0].failures == 1
            await registry.aclose()


def first_asked_of(engine: RemoteEngine, server: ModelServer) -> int:
    """The first conversation that goes to this server if none has anything to do."""
    return next(n for n in range(99) if engine._pool.choose(_keys(talk(n).messages)).url == server.url)


class TestWhatDoesNotFit:
    async def test_a_prompt_that_was_thought_to_fit_is_cut_harder_once(self) -> None:
        """The server's context is shorter than configured: system message and last question stay."""
        server = ModelServer(ScriptedEngine(context_length=1000))
        async with served(server, context_length=4000) as engine:
            text, _ = await answer(engine, talk(1, turns=8, size=100))
            assert text.startswith("You said: 1.8 ")
            whole, cut = (body["messages"] for body in server.asked)
            assert len(whole) == 18
            assert [cut[0], cut[-1]] == [whole[0], whole[-1]]
            assert cut[1]["role"] == "user"
            assert cut[1:] == whole[-len(cut[1:]) :]
            assert engine.context_length == 1000

    async def test_the_next_prompt_is_known_to_be_too_long(self) -> None:
        server = ModelServer(ScriptedEngine(context_length=1000))
        server.engine.answer = lambda prompt: "yes"
        async with serving(server), remote(server.url) as engine:
            request = talk(1, turns=8, size=100)
            assert (await engine.size(request.messages, enough=0)).tokens < 600
            await answer(engine, request)
            assert (await engine.size(request.messages, enough=0)).tokens > 900

    async def test_a_question_that_alone_does_not_fit_is_told_as_too_long(self) -> None:
        server = ModelServer(ScriptedEngine(context_length=1000))
        async with served(server) as engine:
            with pytest.raises(TooLong):
                request = Generation(messages=(HELLO[0], ChatMessage("user", "x" * 2000)), max_tokens=50)
                await answer(engine, request)
            assert len(server.asked) == 1

    async def test_an_answer_that_does_not_fit_is_asked_shorter(self) -> None:
        server = ModelServer(ScriptedEngine(context_length=1000))
        async with served(server) as engine:
            request = Generation(messages=(HELLO[0], ChatMessage("user", "x" * 500)), max_tokens=900)
            assert (await answer(engine, request))[0].startswith("You said: xxx")
            assert [body["max_tokens"] for body in server.asked] == [900, 250]


class TestTemplatesWithoutASystemRole:
    async def test_its_text_goes_before_the_first_users_and_that_is_remembered(self) -> None:
        async with serving(ModelServer(takes_system=False)) as server, remote(server.url) as engine:
            for _ in range(2):
                assert (await answer(engine))[0] == "You said: Be brief.\n\nhello"
            roles = [[message["role"] for message in body["messages"]] for body in server.asked]
            assert roles == [["system", "user"], ["user"], ["user"]]


class TestWhatAServerSaysOfItself:
    @pytest.mark.parametrize(
        ("listed", "length"),
        [
            ({"id": "m", "max_model_len": 8192}, 8192),
            ({"id": "m", "context_length": 8192}, 8192),
            ({"id": "m", "meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, 2048),
        ],
    )
    async def test_its_model_and_context_are_asked_for(self, listed: dict[str, object], length: int) -> None:
        async with serving(ModelServer(listed=listed)) as server, remote(server.url) as engine:
            assert (engine.name, engine.context_length) == ("far@m", length)

    async def test_the_shortest_context_of_several_servers_holds_and_one_may_be_away(self) -> None:
        small = ModelServer(listed={"id": "m", "max_model_len": 1000})
        large = ModelServer(listed={"id": "m", "max_model_len": 2000})
        async with serving(small), serving(large):
            async with serving(ModelServer()) as gone:
                pass
            async with remote(large.url, gone.url, small.url) as engine:
                assert engine.context_length == 1000

    async def test_with_all_configured_nothing_is_asked(self) -> None:
        async with remote("http://127.0.0.1:1/v1", remote_model="a/b/c", context_length=999) as engine:
            assert (engine.name, engine.context_length) == ("far@c", 999)

    @pytest.mark.parametrize(
        ("listed", "settings", "words"),
        [
            ({}, {}, "does not list a model"),
            ({"id": "m"}, {}, "set context_length"),
            ({"id": 5}, {}, "does not list a model"),
            ({"id": "m", "max_model_len": True}, {}, "set context_length"),
            ({"id": "m", "max_model_len": 99}, {"api_key": "wrong"}, "401"),
        ],
    )
    async def test_what_is_missing_is_told(
        self, listed: dict[str, object], settings: dict[str, Any], words: str
    ) -> None:
        key = "right" if "api_key" in settings else ""
        async with serving(ModelServer(listed=listed, key=key)) as server:
            with pytest.raises(ModelError, match=words):
                async with remote(server.url, **settings):
                    pass

    async def test_a_server_that_is_not_there_is_told_with_what_to_do(self) -> None:
        with pytest.raises(ModelError, match="With remote_model and context_length set"):
            async with remote("http://127.0.0.1:1/v1"):
                pass
