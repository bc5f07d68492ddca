"""Programs that send too much, go away, do not read or come in crowds: the others are answered, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.web import connections, server
from adapters.web.openai import body
from bot.api_door import new_secret
from bot.config import EMBEDDED_CHAT_MODEL
from bot.engines.scheduler import Scheduler
from bot.testing import ScriptedEngine
from tests.house import DEADLINE, until
from tests.programs import CHAT, HELLO, TEXT, Program, program
from tests.web import Site, site, status

VANISHING, IDLE, FLOOD = 64, 1000, 64
MEBIBYTE = 2**20
SLOTS = 8
"""Of a configured model."""
ON_ITS_WAY = 12 * MEBIBYTE
"""What the system takes of a body that nobody reads."""
OURS = ("adapters.", "bot.", "aiohttp.web", "aiohttp.http_w")
"""Modules whose objects are counted: what a request is made of."""
STREAM = json.dumps({"model": "default", "messages": HELLO, "stream": True}).encode()
WHOLE = json.dumps({"model": "default", "messages": HELLO}).encode()

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, engine=ScriptedEngine(lambda _: "word " * 200)) as made:
        yield made


def head(home: Site, *headers: str, path: str = CHAT) -> bytes:
    """The head of a request, as a program sends it."""
    return home.request(f"POST /v1{path} HTTP/1.1", "Content-Type: application/json", *headers)


def request(home: Site, sent: bytes) -> bytes:
    """The whole of one."""
    return head(home, f"Content-Length: {len(sent)}") + sent


async def connected(home: Site, sent: bytes) -> Connection:
    """A connection on which this was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    writer.write(sent)
    return reader, writer


async def keys(home: Site, *names: str) -> list[str]:
    """The secrets of new keys."""
    secrets = [new_secret() for _ in names]
    for name, secret in zip(names, secrets, strict=True):
        await home.app.store.add_key(secret, name=name)
    return secrets


async def scheduler_of(home: Site) -> Scheduler:
    return (await home.app.registry.get("default")).scheduler


async def until_idle(home: Site) -> None:
    """Return when no stream runs and nobody waits for a slot."""
    scheduler = await scheduler_of(home)
    await until(lambda: not (home.engine.active or scheduler.running or scheduler.waiting), "an idle engine")


# --- too much, and without end ---


async def sent_until_answered(home: Site, first: bytes, piece: bytes) -> tuple[int, int, Any]:
    """Send a head, and then piece after piece: how many bytes that were, and the answer's status and error object."""
    reader, writer = await connected(home, first)
    answer = asyncio.ensure_future(reader.read(65536))
    sent = 0
    with suppress(ConnectionError):
        while not answer.done() and sent < 100 * MEBIBYTE:
            writer.write(piece)
            sent += len(piece)
            await asyncio.wait([asyncio.ensure_future(writer.drain()), answer], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
    response = await asyncio.wait_for(answer, DEADLINE)
    writer.transport.abort()
    return sent, status(response), json.loads(response.partition(b"\r\n\r\n")[2])["error"]


async def test_a_body_of_26_mb_is_refused_before_it_has_come(home: Site) -> None:
    for path in (CHAT, TEXT, "/embeddings"):
        first = head(home, f"Content-Length: {26 * MEBIBYTE}", path=path)
        sent, got, told = await sent_until_answered(home, first, b" " * 65536)
        assert (got, told["type"]) == (413, "invalid_request_error")
        assert sent < ON_ITS_WAY
    assert home.engine.requests == []


async def test_an_upload_of_26_mb_is_refused_before_it_has_come(home: Site) -> None:
    line = "POST /v1/audio/transcriptions HTTP/1.1"
    kind = "Content-Type: multipart/form-data; boundary=x"
    first = home.request(line, kind, f"Content-Length: {26 * MEBIBYTE}")
    sent, got, told = await sent_until_answered(home, first, b" " * 65536)
    assert (got, told["type"]) == (413, "invalid_request_error")
    assert sent < ON_ITS_WAY


async def test_a_body_of_unknown_length_is_read_to_the_bound_and_no_further(home: Site) -> None:
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    sent, got, told = await sent_until_answered(home, head(home, "Transfer-Encoding: chunked"), piece)
    assert (got, told["message"]) == (413, "The body is too large: at most 8 MiB.")
    assert 8 * MEBIBYTE <= sent < 16 * MEBIBYTE


async def test_a_body_that_never_comes_is_not_waited_for(home: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "SECONDS", 0.1)
    answer = await home.raw(head(home, "Content-Length: 1000") + b'{"model": "')
    assert status(answer) == 408
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_a_body_that_never_ends_is_not_waited_for(home: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte after the other: each is a sign of life, and all of them come to nothing."""
    monkeypatch.setattr(body, "SECONDS", 0.5)
    sent, got, _ = await sent_until_answered(home, head(home, "Transfer-Encoding: chunked"), b"1\r\n \r\n")
    assert got == 408
    assert sent < body.MOST


async def test_a_thousand_idle_connections_keep_nobody_out(home: Site, files: int) -> None:
    """Some said nothing, some half a request, and some were answered once and stay."""
    number = min(IDLE, files)
    answered = home.request("GET /v1/models HTTP/1.1").replace(b", close", b"")
    beginnings = [b"", head(home)[:40], head(home, "Content-Length: 1000"), answered]
    opened = [await connected(home, beginnings[n % len(beginnings)]) for n in range(number)]
    try:
        for reader, _ in opened[3::4]:
            assert status(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)) == 200
        async with program(home) as asker:
            for stream in (False, True):
                await asker.chat(stream=stream)
            assert (await asker.get("/models")).status == 200
    finally:
        for _, writer in opened:
            writer.transport.abort()


# --- who goes away ---


async def in_the_middle(home: Site) -> list[Connection]:
    """Streams that were told their first words, as many as one caller has slots; the others wait."""
    home.engine.stall_after = 3
    opened = [await connected(home, request(home, STREAM)) for _ in range(VANISHING)]
    await until(lambda: home.engine.active == SLOTS - 1, "as many streams as one caller may have")
    scheduler = await scheduler_of(home)
    await until(lambda: scheduler.waiting == VANISHING - SLOTS + 1, "the others in their line")
    await told(opened, b'"content": "w"')
    return opened


async def told(opened: list[Connection], words: bytes) -> None:
    """Return when as many as are served have read these words."""
    reading = {asyncio.ensure_future(reader.readuntil(words)) for reader, _ in opened}
    read = 0
    async with asyncio.timeout(DEADLINE):
        while read < SLOTS - 1:
            done, reading = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            read += len([one.result() for one in done])
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def before_an_answer(home: Site) -> list[Connection]:
    """Requests for whole answers, which are being read by the engine or wait."""
    home.engine.stall_in_prefill = True
    opened = [await connected(home, request(home, WHOLE)) for _ in range(VANISHING)]
    await until(lambda: home.engine.active == SLOTS - 1, "as many streams as one caller may have")
    return opened


async def in_many_choices(home: Site) -> list[Connection]:
    """Requests of eight choices each."""
    home.engine.stall_after = 3
    sent = json.dumps({"model": "default", "messages": HELLO, "stream": True, "n": 8}).encode()
    opened = [await connected(home, request(home, sent)) for _ in range(SLOTS)]
    await until(lambda: home.engine.active == SLOTS - 1, "as many streams as one caller may have")
    return opened


async def within_their_bodies(home: Site) -> list[Connection]:
    """Requests of which half has come."""
    sent = request(home, STREAM + b" " * 300_000)
    return [await connected(home, sent[: len(sent) // 2]) for _ in range(VANISHING)]


Begin = Callable[[Site], Awaitable[list[Connection]]]


async def vanish(home: Site, begin: Begin) -> None:
    """Programs that all break off, and a wait until nothing runs for them."""
    home.engine.stall_after, home.engine.stall_in_prefill = None, False
    opened = await begin(home)
    for _, writer in opened:
        writer.transport.abort()
    await until_idle(home)


def living(home: Site) -> Counter[str]:
    """How many objects of each class of ours live."""
    home.engine.requests.clear()  # what the fake remembers
    gc.collect()
    names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(name for name in names if name.startswith(OURS))


@pytest.mark.parametrize("begin", [in_the_middle, before_an_answer, in_many_choices, within_their_bodies])
async def test_programs_that_vanish_leave_nothing_behind(home: Site, begin: Begin) -> None:
    """Neither a stream in the engine, nor a place in its line, nor an object: however often they come and go."""
    await vanish(home, begin)
    before = living(home)
    for _ in range(3):
        await vanish(home, begin)
    grown: dict[str, int] = {}

    def settled() -> bool:
        """Connections that were broken off are closed a turn of the loop later."""
        grown.clear()
        grown.update({name: more for name, more in (living(home) - before).items() if more >= VANISHING // 4})
        return not grown

    with suppress(AssertionError):
        await until(settled, "the end of their objects")
    assert grown == {}
    home.engine.stall_after, home.engine.stall_in_prefill = None, False
    async with program(home) as asker:
        assert (await asker.chat())["choices"][0]["finish_reason"] == "stop"
        assert (await asker.chat(stream=True))[-1]["choices"][0]["finish_reason"] == "stop"


async def test_what_vanished_frees_a_real_model_too(tmp_path: Path) -> None:
    """Counted by the engine's own counters: it stops long before it would have ended, and answers again."""
    model = {"path": str(EMBEDDED_CHAT_MODEL), "threads": 1, "slots": SLOTS, "context_length": 2048}
    async with site(tmp_path, models={"default": model}) as home:
        loaded = await home.app.registry.get("default")
        engine: Any = loaded.engine
        [[letter]] = await engine.encode(["o"])
        endless = json.dumps(
            {"model": "default", "prompt": "Once", "max_tokens": 2000, "stream": True, "logit_bias": {letter: 100}}
        )
        opened = []
        for _ in range(VANISHING):
            sent = endless.encode()
            opened.append(await connected(home, head(home, f"Content-Length: {len(sent)}", path=TEXT) + sent))
        await told(opened, b'"text": "o"')
        for _, writer in opened:
            writer.transport.abort()
        await asyncio.wait_for(loaded.scheduler.idle(), DEADLINE)
        async with asyncio.timeout(DEADLINE):
            while (counted := await engine.counters()).running:
                await asyncio.sleep(0.001)
        assert counted.generated < (SLOTS - 1) * 2000
        async with program(home) as asker:
            assert (await asker.text("Once", max_tokens=3))["usage"]["completion_tokens"] == 3
        assert await home.app.store.api_tokens_today("open") >= SLOTS - 1, "what was written by then counts"


# --- who does not read ---


@asynccontextmanager
async def patient(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, **sections: Any
) -> AsyncIterator[Site]:
    """A site with a very long answer, that waits so long for a client that reads nothing."""
    monkeypatch.setattr(server, "listening", partial(connections.listening, read_seconds=seconds))
    engine = ScriptedEngine(lambda _: "word " * 20_000, context_length=200_000)
    async with site(folder, engine=engine, **sections) as made:
        yield made


async def unread(home: Site, secret: str) -> Connection:
    """A stream of which nothing is read, over a small window."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", home.port))
    reader, writer = await asyncio.open_connection(sock=one, limit=4096)
    key = f"Authorization: Bearer {secret}"
    writer.write(head(home, key, f"Content-Length: {len(STREAM)}") + STREAM)
    return reader, writer


async def stands_still(home: Site) -> int:
    """What was generated when the engine has waited for its readers for 200 turns of the loop."""
    seen, same = -1, 0
    async with asyncio.timeout(DEADLINE):
        while same < 200:
            same = same + 1 if home.engine.generated == seen else 0
            seen = home.engine.generated
            await asyncio.sleep(0.001)
    return seen


async def test_who_reads_nothing_costs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine waits for its reader; what is on the way in this process and in the system are some hundred tokens."""
    async with patient(tmp_path, monkeypatch, DEADLINE) as home:
        slow, other = await keys(home, "slow", "other")
        opened = [await unread(home, slow) for _ in range(SLOTS - 1)]
        await until(lambda: home.engine.active == SLOTS - 1, "the streams")
        written = await stands_still(home)
        assert 0 < written < 1000 * len(opened)
        async with program(home, other) as asker, aclosing(asker.live(CHAT, {"messages": HELLO})) as events:
            assert (await anext(events))["choices"], "others are served meanwhile"
        for _, writer in opened:
            writer.transport.abort()
        await until_idle(home)


async def test_who_reads_nothing_does_not_hold_the_engine_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with patient(tmp_path, monkeypatch, 0.2) as home:
        [slow] = await keys(home, "slow")
        opened = [await unread(home, slow) for _ in range(SLOTS - 1)]
        await until(lambda: home.engine.active > 0, "the streams")
        await until_idle(home)
        assert home.engine.generated < 1000 * len(opened)
        for _, writer in opened:
            writer.transport.abort()


async def test_who_reads_a_little_now_and_then_does_not_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has a whole time, however it is read."""
    async with patient(tmp_path, monkeypatch, DEADLINE, queue={"total_timeout": 0.5}) as home:
        [slow] = await keys(home, "slow")
        reader, writer = await unread(home, slow)
        got = b""
        async with asyncio.timeout(DEADLINE):
            while b'"error"' not in got:
                got = got[-1000:] + await reader.read(2048)
                await asyncio.sleep(0.001)
        assert b'"code": "timeout"' in got
        await until_idle(home)
        writer.transport.abort()


# --- one floods ---


def asked(home: Site) -> list[str]:
    """What the engine was asked, in the order in which slots were given."""
    prompts = (home.engine.decode(one.prompt) for one in home.engine.requests)
    return [prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0] for prompt in prompts]


async def read(asker: Program, text: str, **more: Any) -> int:
    """Read a stream to its end; how many chunks it had."""
    return len(await asker.chat([{"role": "user", "content": text}], stream=True, **more))


async def test_a_person_is_answered_while_a_program_floods(home: Site) -> None:
    """No key has all slots: the person's question is in the engine although not one of the key's streams has ended."""
    [secret] = await keys(home, "flood")
    home.engine.stall_after = 1
    async with program(home, secret) as flooding, home.browser() as browser:
        flood = [asyncio.create_task(read(flooding, f"flood {n}")) for n in range(FLOOD)]
        scheduler = await scheduler_of(home)
        await until(partial(in_line, scheduler, FLOOD), "the flood")
        assert (home.engine.active, len(asked(home))) == (SLOTS - 1, SLOTS - 1)
        where = await browser.begin()
        await browser.say(where, "a question of a person")
        await until(lambda: home.engine.active == SLOTS, "the person's slot")
        assert asked(home)[SLOTS - 1] == "a question of a person"
        home.engine.stall_after = None
        home.engine.resume.set()
        assert (await browser.settled(where))["messages"][-1]["text"].startswith("word ")
        assert len(set(await asyncio.gather(*flood))) == 1, "all of the flood is answered in the end"


def in_line(scheduler: Scheduler, number: int) -> bool:
    """Whether so many have a slot or wait for one."""
    return scheduler.running + scheduler.waiting == number


async def test_slots_go_round_between_keys(tmp_path: Path) -> None:
    """Who comes last with one request does not wait for those that came before with 64: counted in slots that are given."""
    model = {"path": "scripted.fake", "slots": 6}
    async with site(tmp_path, models={"default": model}) as home:
        secrets = await keys(home, "a", "b", "c", "d")
        home.engine.stall_after = 1
        async with (
            program(home, secrets[0]) as a,
            program(home, secrets[1]) as b,
            program(home, secrets[2]) as c,
            program(home, secrets[3]) as d,
        ):
            scheduler = await scheduler_of(home)
            tasks = []
            for asker, name, number in ((a, "a", FLOOD), (b, "b", FLOOD), (c, "c", 1), (d, "d", 1)):
                tasks += [asyncio.create_task(read(asker, f"{name}{n}")) for n in range(number)]
                await until(partial(in_line, scheduler, len(tasks)), "all in their line")
            assert [text[0] for text in asked(home)] == [*"aaaaab"], "the last slot was kept for somebody else"
            home.engine.stall_after = None
            home.engine.resume.set()
            await asyncio.gather(*tasks)
            order = "".join(text[0] for text in asked(home))
            assert len(order) == 2 * FLOOD + 2
            assert order.index("c") < 12 and order.index("d") < 12
            for n in range(10, 100):
                assert abs(order[:n].count("a") - order[:n].count("b")) <= 6, order


async def test_many_choices_are_no_more_than_one_caller_s_share(home: Site) -> None:
    [flood, other] = await keys(home, "flood", "other")
    home.engine.stall_after = 1
    async with program(home, flood) as flooding, program(home, other) as asker:
        task = asyncio.create_task(read(flooding, "flood", n=FLOOD))
        await until(lambda: home.engine.active == SLOTS - 1, "the flood")
        single = asyncio.create_task(read(asker, "another"))
        await until(lambda: home.engine.active == SLOTS, "the other's slot")
        assert asked(home) == ["flood"] * (SLOTS - 1) + ["another"]
        home.engine.stall_after = None
        home.engine.resume.set()
        await single
        await task
