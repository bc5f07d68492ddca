"""A model's server that misbehaves in every way: what is tried again, what is told, and that nothing hangs or crashes."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from bot.config import QueueConfig
from bot.engines.remote import Patience, RemoteEngine
from bot.engines.scheduler import Scheduler
from bot.errors import BadRequest, EngineBroken, EngineError, EngineTimeout
from bot.generation import Delta, Prefill, Usage
from tests.house import DEADLINE, until
from tests.model_server import (
    ASKED,
    Fault,
    ModelServer,
    answer,
    breaks_off,
    never_ends,
    pauses,
    refuses,
    remote,
    says,
    served,
    serving,
    words,
)

DONE = b"data: [DONE]\n\n"


@asynccontextmanager
async def faulty(*faults: Fault) -> AsyncIterator[tuple[ModelServer, RemoteEngine]]:
    """A server that answers in these ways first, and rightly from then on."""
    async with serving(ModelServer()) as server, remote(server.url) as engine:
        server.faults.extend(faults)
        yield server, engine


def event(**frame: object) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


class TestTriesBeforeTheFirstWord:
    @pytest.mark.parametrize(
        "fault",
        [
            refuses(429),
            refuses(429, **{"Retry-After": "0"}),
            refuses(500),
            refuses(502),
            refuses(503, **{"Retry-After": "0.01"}),
            refuses(408),
            breaks_off(),
            breaks_off(b": waiting\n\n"),
            says(b""),
            says(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'),
            says(b"<html>Bad gateway</html>", "text/html"),
        ],
        ids=lambda fault: "",
    )
    async def test_what_may_pass_is_tried_again(self, fault: Fault) -> None:
        async with faulty(fault) as (server, engine):
            assert (await answer(engine))[0] == "You said: hello"
            assert len(server.asked) == 2

    async def test_what_does_not_pass_is_told_after_three_tries(self) -> None:
        async with faulty(*[refuses(500)] * 9) as (server, engine):
            with pytest.raises(EngineError) as told:
                await answer(engine)
            assert not isinstance(told.value, EngineBroken)
            assert len(server.asked) == 3

    async def test_after_the_first_words_nothing_is_tried_again(self) -> None:
        async with faulty(breaks_off(words("Hel", "lo"))) as (server, engine):
            text = ""
            with pytest.raises(EngineError):
                async for event in engine.stream(ASKED):
                    text += event.text if isinstance(event, Delta) else ""
            assert text == "Hello"
            assert len(server.asked) == 1

    async def test_thinking_counts_as_first_words(self) -> None:
        thought = b'data: {"choices": [{"delta": {"reasoning_content": "Hm."}}]}\n\n'
        async with faulty(breaks_off(thought)) as (server, engine):
            with pytest.raises(EngineError):
                await answer(engine)
            assert len(server.asked) == 1

    async def test_a_server_that_asks_for_more_time_than_anybody_waits_is_told_as_busy(self) -> None:
        async with faulty(refuses(429, **{"Retry-After": "600"})) as (server, engine):
            for _ in range(2):
                with pytest.raises(EngineError, match="asks for") as told:
                    await answer(engine)
                assert told.value.words == "The model has too much to do right now. Please ask again in a minute."
            assert len(server.asked) == 1

    @pytest.mark.parametrize("when", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
    async def test_a_server_that_asks_for_years_is_asked_again_in_five_minutes(self, when: str) -> None:
        async with faulty(refuses(503, **{"Retry-After": when})) as (_, engine):
            with pytest.raises(EngineError, match=r"asks for \d{1,3} s"):
                await answer(engine)
            [server] = engine._pool.servers
            assert server.closed_until - asyncio.get_running_loop().time() <= 300

    async def test_a_refused_connection_is_an_error_that_may_pass(self) -> None:
        async with serving(ModelServer()) as server:
            url = server.url
        async with remote(url, remote_model="m", context_length=4096) as engine:
            with pytest.raises(EngineError) as told:
                await answer(engine)
            assert not isinstance(told.value, EngineBroken)

    async def test_a_server_that_does_not_take_the_connection_is_given_up_in_time(self) -> None:
        """Its line of waiting connections is full, so the kernel leaves the next one without an answer."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            host, port = full.getsockname()
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex((host, port))
            url = f"http://127.0.0.1:{port}/v1"
            async with remote(url, remote_model="m", context_length=4096, connect_timeout=0.1) as engine:
                with pytest.raises(EngineError, match="Timeout"):
                    await answer(engine)
            for one in waiting:
                one.close()


class TestRefusals:
    @pytest.mark.parametrize(
        ("fault", "error", "words"),
        [
            (refuses(401), EngineBroken, "does not let me in"),
            (refuses(403), EngineBroken, "does not let me in"),
            (refuses(404), EngineBroken, "does not know this model"),
            (refuses(405), EngineBroken, "The model failed"),
            (refuses(301, Location="http://127.0.0.1:1/elsewhere"), EngineBroken, "The model failed"),
            (refuses(400), BadRequest, "refuses this request"),
            (refuses(422), BadRequest, "refuses this request"),
        ],
        ids=["401", "403", "404", "405", "301", "400", "422"],
    )
    async def test_what_would_be_refused_again_is_told_as_what_it_is(
        self, fault: Fault, error: type[Exception], words: str
    ) -> None:
        async with faulty(fault) as (server, engine):
            with pytest.raises(error) as told:
                await answer(engine)
            assert words in told.value.words  # type: ignore[attr-defined]  # each of them is Told
            assert len(server.asked) == 1

    async def test_a_server_that_answers_without_a_stream_is_asked_once_and_told_as_what_it_is(self) -> None:
        whole = {"object": "chat.completion", "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}
        async with faulty(says(json.dumps(whole).encode(), "application/json")) as (server, engine):
            with pytest.raises(EngineBroken, match=f"{server.url}: answers without a stream"):
                await answer(engine)
            assert len(server.asked) == 1

    async def test_a_wrong_key_is_not_repeated_in_any_words(self, capfd: pytest.CaptureFixture[str]) -> None:
        server = ModelServer(key="right")
        async with served(server, remote_model="m", context_length=999, api_key="s3cret") as engine:
            with pytest.raises(EngineBroken) as told:
                await answer(engine)
        assert "s3cret" not in f"{told.value} {told.value.words} {capfd.readouterr()}"

    async def test_a_servers_words_about_a_message_do_not_reach_the_log(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """They may repeat what somebody wrote; who refuses and how is told."""
        async with faulty(refuses(400, "bad message: my diary"), *[refuses(500, "my diary")] * 3) as (_, engine):
            for _ in range(2):
                with pytest.raises((BadRequest, EngineError)) as told:
                    await answer(engine)
                assert "diary" not in f"{told.value} {told.value.words}"
        shown = [line for line in capfd.readouterr().out.splitlines() if "debug" not in line]
        assert "diary" not in "\n".join(shown)


RUBBISH = {
    "no JSON": b"data: hello\n\n",
    "a list": b"data: [1, 2]\n\n",
    "deep": b"data: " + b"[" * 200_000 + b"\n\n",
    "choices": b'data: {"choices": 5}\n\n',
    "a choice": b'data: {"choices": [5]}\n\n',
    "a delta": b'data: {"choices": [{"delta": "x"}]}\n\n',
    "content": b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
    "reason": b'data: {"choices": [{"delta": {}, "finish_reason": 5}]}\n\n',
    "usage": b'data: {"usage": "much"}\n\n',
    "timings": b'data: {"timings": [1]}\n\n',
    "given up": b'data: {"choices": [{"delta": {}, "finish_reason": "abort"}]}\n\n',
    "no UTF-8": b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
    "another protocol": b"event: message\nid: 1\n\n",
}


class TestRubbish:
    @pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
    async def test_it_is_an_error_and_no_crash(self, body: bytes) -> None:
        async with faulty(*[says(body)] * 3) as (_, engine):
            with pytest.raises(EngineError):
                await answer(engine)
            assert (await answer(engine))[0] == "You said: hello"

    @pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
    async def test_in_the_middle_of_an_answer_too(self, body: bytes) -> None:
        async with faulty(says(words("Hel", "lo") + body)) as (server, engine):
            with pytest.raises(EngineError):
                await answer(engine)
            assert len(server.asked) == 1

    @pytest.mark.parametrize(
        "reply",
        [
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
            + gzip.compress(words("A bomb") + DONE),
            b"HTTP/1.1 500 Oops\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 200_000,
            b"HTTP/1.1 999 What\r\n\r\n",
        ],
        ids=["no HTTP", "endless header", "broken chunk", "gzip", "giant error", "no such status"],
    )
    async def test_what_is_no_proper_http_is_an_error(self, reply: bytes) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, remote(f"http://127.0.0.1:{port}/v1", remote_model="m", context_length=999) as engine:
            with pytest.raises(EngineError):
                await answer(engine)

    @pytest.mark.parametrize("piece", [b"data: " + b"x" * 50_000, b"data: " + b"x" * 1000 + b"\n", b"data:\n" * 10_000])
    async def test_what_never_ends_is_given_up(self, piece: bytes) -> None:
        """A line, an event, an event of empty lines."""
        async with faulty(*[never_ends(piece)] * 3) as (_, engine):
            with pytest.raises(EngineError, match="does not end"):
                await answer(engine)

    async def test_an_answer_beyond_all_measure_ends_at_its_length(self) -> None:
        """A server that does not keep max_tokens; 128 characters for each token are the longest that there are."""
        async with faulty(says(words("x" * 1000) * 100)) as (_, engine):
            text, finish = await answer(engine)
            assert finish.reason == "length"
            assert 12_800 < len(text) <= 13_800


class TestTheStream:
    async def test_thinking_is_left_out_and_shows_that_the_model_works(self) -> None:
        body = (
            b'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}\r\n\r\n'
            b": a comment\r\n\r\n"
            b'data: {"choices": [{"delta": {"reasoning_content": "Hm."}}]}\r\n\r\n'
            b'data: {"choices": [{"delta": {"reasoning": "Hm!"}}]}\r\n\r\n'
            b'data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}\r\n\r\n'
        )
        async with faulty(says(body + DONE)) as (_, engine):
            events = [event async for event in engine.stream(ASKED)]
            assert [event.text for event in events if isinstance(event, Delta)] == ["", "", "Yes."]

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [("stop", "stop"), ("length", "length"), ("eos", "stop"), ("content_filter", "stop"), ("tool_calls", "stop")],
    )
    async def test_the_reasons_for_an_end_are_two(self, reason: str, expected: str) -> None:
        end = json.dumps({"choices": [{"delta": {"content": None}, "finish_reason": reason}]}).encode()
        async with faulty(says(words("Yes.") + b"data: " + end + b"\n\n" + DONE)) as (_, engine):
            assert (await answer(engine))[1].reason == expected

    async def test_the_usage_is_passed_on(self) -> None:
        end = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
        usage = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
        body = words("Yes.") + end + b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
        async with faulty(says(body)) as (_, engine):
            finish = (await answer(engine))[1]
            assert finish.usage == Usage(prompt_tokens=12, cached_tokens=8, completion_tokens=3)

    async def test_where_every_chunk_has_the_usage_so_far_the_last_one_counts(self) -> None:
        """So does vLLM with continuous_usage_stats; what was cached is in the last one only."""

        def so_far(choice: dict[str, object], tokens: int) -> bytes:
            return event(choices=[choice], usage={"prompt_tokens": 12, "completion_tokens": tokens})

        last = {"prompt_tokens": 12, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
        body = so_far({"delta": {"content": "Yes"}}, 1) + so_far({"delta": {"content": "."}}, 2)
        body += so_far({"delta": {}, "finish_reason": "stop"}, 3) + event(choices=[], usage=last) + DONE
        async with faulty(says(body)) as (_, engine):
            text, finish = await answer(engine)
            assert text == "Yes."
            assert finish.usage == Usage(prompt_tokens=12, cached_tokens=8, completion_tokens=4)

    @pytest.mark.parametrize("after", [b"", DONE, b'data: {"usage": 5}\n\n', b"data: rubbish\n\n"])
    async def test_without_a_usage_it_is_guessed_and_nothing_else_changes(self, after: bytes) -> None:
        end = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
        async with faulty(says(words("Yes", ".") + end + after)) as (_, engine):
            text, finish = await answer(engine)
            assert (text, finish.reason, finish.usage.completion_tokens) == ("Yes.", "stop", 2)
            assert finish.usage.prompt_tokens > 0

    async def test_a_complete_answer_does_not_wait_for_a_usage_that_never_comes(self) -> None:
        end = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
        hasty = Patience(backoff=0.01, silence=DEADLINE, usage=0.2)
        async with serving(ModelServer()) as server, remote(server.url, patience=hasty) as engine:
            server.faults.append(pauses(words("Yes."), end))
            async with asyncio.timeout(DEADLINE):
                assert (await answer(engine))[0] == "Yes."

    async def test_an_end_without_a_reason_is_an_end(self) -> None:
        async with faulty(says(words("Yes.") + DONE)) as (_, engine):
            assert (await answer(engine))[0] == "Yes."

    async def test_half_a_character_is_replaced(self) -> None:
        async with faulty(says(b'data: {"choices": [{"delta": {"content": "a\\ud83d"}}]}\n\n' + DONE)) as (_, engine):
            assert (await answer(engine))[0] == "a\ufffd"

    async def test_only_what_is_asked_for_is_sent(self) -> None:
        async with serving(ModelServer()) as server, remote(server.url) as engine:
            await answer(engine)
            assert server.asked == [
                {
                    "model": "stand-in-7b",
                    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
                    "stream": True,
                    "stream_options": {"include_usage": True},
                    "max_tokens": 100,
                    "temperature": 1.0,
                    "top_p": 1.0,
                }
            ]


class TestStopping:
    @pytest.mark.parametrize("fault", [pauses(), pauses(words("Hel"))], ids=["before", "after the first word"])
    async def test_the_scheduler_ends_a_stall(self, fault: Fault) -> None:
        async with faulty(fault) as (_, engine):
            queue = QueueConfig(first_token_timeout=0.2, stall_timeout=0.2)
            async with Scheduler(engine, queue, slots=1).ticket("ada") as ticket:
                with pytest.raises(EngineTimeout):
                    async with aclosing(ticket.stream(ASKED)) as events:
                        async for _event in events:
                            pass

    async def test_a_stop_closes_the_connection_at_once(self) -> None:
        server = ModelServer()
        server.engine.stall_after = 3
        async with serving(server), remote(server.url) as engine:
            stream = engine.stream(ASKED)
            async for event in stream:
                if isinstance(event, Delta):
                    break
            assert server.engine.active == 1
            await stream.aclose()
            await until(lambda: server.engine.active == 0, "the server to stop")

    async def test_a_stop_before_the_first_word_does_too(self) -> None:
        server = ModelServer()
        server.engine.stall_in_prefill = True
        async with serving(server), remote(server.url) as engine:
            task = asyncio.create_task(answer(engine))
            await until(lambda: server.engine.active == 1, "the server to begin")
            task.cancel()
            await until(lambda: server.engine.active == 0, "the server to stop")
            with pytest.raises(asyncio.CancelledError):
                await task

    async def test_a_consumer_that_stops_after_it_took_its_time_says_nothing_of_the_server(self) -> None:
        patience = Patience(silence=0.5)
        async with serving(ModelServer()) as server, remote(server.url, patience=patience) as engine:
            async with aclosing(engine.stream(ASKED)) as events:
                assert isinstance(await anext(events), Prefill)
                await asyncio.sleep(1)  # longer than the server may be silent
            assert engine._pool.servers[0].failures == 0

    async def test_a_stream_that_runs_when_the_engine_is_closed_ends_with_an_error(self) -> None:
        server = ModelServer()
        server.engine.stall_after = 3
        async with serving(server), remote(server.url) as engine:
            task = asyncio.create_task(answer(engine))
            await until(lambda: server.engine.active == 1, "the server to begin")
            await engine.aclose()
            with pytest.raises(EngineError):
                await task
