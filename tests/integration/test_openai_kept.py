"""What is kept of the API's requests, over real sockets: what was asked to be kept, for who asked it, and nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from adapters.web.openai import completing
from bot import aside
from bot.api_door import new_secret
from bot.config import EMBEDDED_CHAT_MODEL
from bot.errors import EngineBroken
from tests.house import until
from tests.programs import CHAT, DONE, HELLO, TEXT, Program, error, program
from tests.web import Answer, Site, site

WORDS = (
    "quixotry",
    "zephyrine",
    "mulberrying",
    "larkspurred",
    "ottomanesque",
    "verdigrised",
    "nacreously",
    "halcyonic",
)
"""Of a request and its answer: nothing else has them."""
SAID, NAME, ARGUMENT, RESULT, DESCRIPTION, SCHEMA, STOP, TOPIC = WORDS
SCHEMED = {"type": "object", "properties": {SCHEMA: {"type": "integer", "maximum": 9}}, "required": [SCHEMA]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": f'{{"at": "{ARGUMENT}"}}'}}
TOLD: list[dict[str, Any]] = [
    {"role": "system", "content": f"Be {SAID}."},
    {"role": "user", "content": [{"type": "text", "text": f"Say {SAID}"}], "name": NAME},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": RESULT},
    {"role": "user", "content": f"And {SAID}"},
]
FORM = {"type": "json_schema", "json_schema": {"name": "made", "schema": SCHEMED}}
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": DESCRIPTION, "parameters": SCHEMED},
}
"""Requests whose every field has a word of its own."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def asker(home: Site) -> AsyncIterator[Program]:
    async with program(home, await key(home, "asker")) as made:
        yield made


async def key(home: Site, name: str) -> str:
    secret = new_secret()
    await home.app.store.add_key(secret, name=name)
    return secret


async def kept(asker: Program, text: str = "hello", **more: Any) -> Any:
    """A completion that is kept."""
    return await asker.chat([{"role": "user", "content": text}], store=True, **more)


def gone(answer: Answer) -> bool:
    """Whether there is no such thing (any more)."""
    return (answer.status, error(answer)["code"]) == (404, "not_found")


async def listed(asker: Program, query: str = "") -> list[str]:
    """The ids on a page."""
    answer = await asker.get(f"/chat/completions{query}")
    assert answer.status == 200, answer.body
    return [one["id"] for one in answer.json["data"]]


def found_in(folder: Path) -> set[str]:
    """Which of the words stand in any file under a folder."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert files
    return {word for word in WORDS if any(word.encode() in data for data in files)}


# --- what was asked to be kept ---


async def test_what_was_kept_is_given_again(asker: Program) -> None:
    given = await kept(asker, metadata={"topic": "greeting"}, logprobs=True, n=2)
    again = (await asker.get(f"/chat/completions/{given['id']}")).json
    assert again == {**given, "metadata": {"topic": "greeting"}}
    assert await listed(asker) == [given["id"]]


async def test_a_stream_is_kept_as_a_whole_answer(asker: Program) -> None:
    chunks = await kept(asker, stream=True)
    found = (await asker.get(f"/chat/completions/{chunks[0]['id']}")).json
    assert found["object"] == "chat.completion"
    assert found["choices"][0]["message"]["content"] == "You said: hello"
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"]["completion_tokens"] == len("You said: hello") + 1


async def test_a_stream_that_failed_or_was_left_is_not_kept(home: Site, asker: Program) -> None:
    home.engine.fail_with, home.engine.fail_after = EngineBroken(), 4
    body = {"messages": HELLO, "store": True}
    assert list((await asker.streamed(CHAT, body))[-1]) == ["error"]
    await asker.refused(CHAT, 500, **body)
    home.engine.fail_with, home.engine.stall_after = None, 4
    async with aclosing(asker.live(CHAT, body)) as events:
        for _ in range(5):
            await anext(events)
    await until(lambda: home.engine.active == 0, "the engine to be free")
    assert await listed(asker) == []


async def test_the_messages_are_given_page_by_page(asker: Program) -> None:
    given = await asker.chat(TOLD, store=True)
    where = f"/chat/completions/{given['id']}/messages"
    first = (await asker.get(f"{where}?limit=3")).json
    assert (first["object"], first["has_more"]) == ("list", True)
    rest = (await asker.get(f"{where}?after={first['last_id']}")).json
    assert not rest["has_more"]
    messages = [*first["data"], *rest["data"]]
    expected = [{"id": None, "name": None, "content_parts": None, **message} for message in TOLD]
    expected[1] |= {"content": f"Say {SAID}", "content_parts": TOLD[1]["content"]}
    assert [{**one, "id": None} for one in messages] == expected
    assert len({one["id"] for one in messages}) == len(TOLD)
    turned = (await asker.get(f"{where}?order=desc")).json["data"]
    assert turned == messages[::-1]
    for query in ("?after=none", "?limit=0", "?limit=101", "?limit=x", "?order=up", "?model=default", "?x=1"):
        answer = await asker.get(where + query)
        assert (answer.status, error(answer)["param"]) == (400, query[1:].partition("=")[0])


async def test_a_list_is_given_page_by_page(asker: Program) -> None:
    ids = [(await kept(asker, f"{n}", metadata={"even": str(not n % 2), "all": "yes"}))["id"] for n in range(5)]
    assert await listed(asker) == ids
    assert await listed(asker, "?order=desc") == ids[::-1]
    page = (await asker.get("/chat/completions?limit=2")).json
    assert (page["object"], page["has_more"], page["first_id"], page["last_id"]) == ("list", True, ids[0], ids[1])
    seen, query = [], "?limit=2"
    while True:
        page = (await asker.get(f"/chat/completions{query}")).json
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        query = f"?limit=2&after={page['last_id']}"
    assert seen == ids
    assert await listed(asker, "?metadata[even]=True&metadata[all]=yes") == ids[::2]
    assert await listed(asker, "?metadata[even]=True&metadata[all]=no") == []
    for name in ("scripted-1970-01-01", "default", "gpt-3.5-turbo"):
        assert await listed(asker, f"?model={name}") == ids, name
    assert await listed(asker, "?model=nobody") == []
    empty = (await asker.get("/chat/completions?model=nobody")).json
    assert (empty["data"], empty["first_id"], empty["last_id"], empty["has_more"]) == ([], None, None, False)
    for query in (
        "?after=none",
        "?limit=0",
        "?limit=101",
        "?limit=-1",
        "?limit=x",
        "?order=up",
        "?x=1",
        "?metadata=1",
        "?metadata",
    ):
        answer = await asker.get(f"/chat/completions{query}")
        assert (answer.status, error(answer)["param"]) == (400, query[1:].partition("=")[0])


async def test_what_an_address_asks_for_is_known_and_there_once(asker: Program) -> None:
    where = f"/chat/completions/{(await kept(asker))['id']}"
    for path in (
        where,
        f"{where}/messages",
        "/chat/completions",
        "/models",
        "/models/default",
        "/engines",
        "/engines/default",
        "/openapi.json",
    ):
        for method in ("GET", "HEAD"):
            assert (await asker.send(method, f"{path}?frobnicate=1")).status == 400, path
        answer = await asker.get(f"{path}?frobnicate=1")
        assert error(answer)["param"] == "frobnicate"
        assert error(answer)["message"] == "Unrecognized request argument supplied: frobnicate"
        assert (await asker.get(path)).status == 200
    for path, body in ((where, {"metadata": {}}), (CHAT, {"messages": HELLO}), (TEXT, {"prompt": "x"})):
        answer = await asker.post(f"{path}?stream=true", {**body, **({} if path == where else {"model": "default"})})
        assert (answer.status, error(answer)["param"]) == (400, "stream")
    assert (await asker.send("DELETE", f"{where}?x=1")).status == 400
    for asked, name in (
        ("limit=1&limit=50", "limit"),
        ("order=asc&order=asc", "order"),
        ("metadata[a]=1&metadata[b]=1&metadata[a]=2", "metadata[a]"),
    ):
        answer = await asker.get(f"/chat/completions?{asked}")
        assert (answer.status, error(answer)["param"]) == (400, name)
        assert error(answer)["message"] == f"Invalid '{name}': it was given twice."
    assert (await asker.get(where)).status == 200, "and nothing was done"


async def test_metadata_is_replaced(asker: Program) -> None:
    given = await kept(asker, metadata={"topic": "greeting"})
    where = f"/chat/completions/{given['id']}"
    changed = await asker.post(where, {"metadata": {"read": "yes"}})
    assert (changed.status, changed.json) == (200, {**given, "metadata": {"read": "yes"}})
    assert (await asker.get(where)).json["metadata"] == {"read": "yes"}
    for wrong in ({}, {"metadata": {"a": 1}}, {"metadata": {"a" * 65: "x"}}, {"metadata": {"a": "x" * 513}}):
        answer = await asker.post(where, wrong)
        assert (answer.status, error(answer)["param"].partition(".")[0]) == (400, "metadata")
    many = {f"{n}": "x" for n in range(17)}
    assert (await asker.post(where, {"metadata": many})).status == 400
    assert (await asker.refused(CHAT, messages=HELLO, store=True, metadata=many))["param"] == "metadata"
    assert (await asker.get(where)).json["metadata"] == {"read": "yes"}


async def test_what_was_kept_is_removed(home: Site, asker: Program) -> None:
    given = await kept(asker, SAID)
    where = f"/chat/completions/{given['id']}"
    removed = await asker.send("DELETE", where)
    assert removed.json == {"object": "chat.completion.deleted", "id": given["id"], "deleted": True}
    for answer in (
        await asker.send("DELETE", where),
        await asker.get(where),
        await asker.get(f"{where}/messages"),
        await asker.post(where, {"metadata": {}}),
    ):
        assert gone(answer)
    assert await listed(asker) == []


async def test_another_key_sees_nothing_of_it(home: Site, asker: Program) -> None:
    given = await kept(asker, metadata={"topic": "greeting"})
    where = f"/chat/completions/{given['id']}"
    async with program(home, await key(home, "other")) as other:
        for answer in (
            await other.get(where),
            await other.get(f"{where}/messages"),
            await other.post(where, {"metadata": {}}),
            await other.send("DELETE", where),
        ):
            assert gone(answer)
            assert b"hello" not in answer.body
        assert await listed(other) == []
        assert error(await other.get(f"/chat/completions?after={given['id']}"))["param"] == "after"
    assert (await asker.get(where)).json["metadata"] == {"topic": "greeting"}


async def test_what_was_kept_is_there_at_the_next_start(tmp_path: Path) -> None:
    async with site(tmp_path) as home:
        secret = await key(home, "asker")
        async with program(home, secret) as asker:
            given = await kept(asker)
    async with site(tmp_path) as home, program(home, secret) as asker:
        assert (await asker.get(f"/chat/completions/{given['id']}")).json["choices"] == given["choices"]


async def test_where_nothing_is_kept_it_cannot_be_asked_for(tmp_path: Path) -> None:
    async with site(tmp_path, retention={"days": 0}) as home, program(home) as asker:
        for stream in (False, True):
            found = await asker.refused(CHAT, messages=HELLO, store=True, stream=stream)
            assert found["param"] == "store"
        assert home.engine.requests == []
        await asker.chat(store=False)
        assert await listed(asker) == []


async def test_what_no_database_can_hold_is_replaced(asker: Program) -> None:
    given = await kept(asker, "a\x00b\ud800")
    [message] = (await asker.get(f"/chat/completions/{given['id']}/messages")).json["data"]
    assert message["content"] == "a\ufffdb\ufffd"


async def test_what_is_too_much_to_be_kept_is_refused(asker: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much it is is known when the answer is: so a stream tells it at its end."""
    messages = [{"role": "user", "content": "ä" * 100}]
    body: dict[str, Any] = {"messages": messages, "store": True, "logprobs": True, "top_logprobs": 2}
    names = [
        (await asker.chat(**body))["id"] for _ in range(2)
    ]  # as those to come, the second has a prompt in the cache
    known = (await asker.get(f"/chat/completions/{names[1]}")).json
    del known["metadata"]
    parts = [json.dumps(part, ensure_ascii=False, separators=(",", ":")) for part in (messages, known)]
    size = sum(len(part.encode()) for part in parts)
    monkeypatch.setattr(completing, "MOST_KEPT", size - 1)
    assert (await asker.refused(CHAT, **body))["param"] == "store"
    *chunks, last = await asker.streamed(CHAT, body)
    assert (last["error"]["param"], len(chunks) > 100) == ("store", True)
    assert await listed(asker) == names
    await asker.chat(**{**body, "store": False})
    monkeypatch.setattr(completing, "MOST_KEPT", size)
    names.append((await asker.chat(**body))["id"])
    assert await listed(asker) == names


async def test_the_work_on_what_was_kept_is_as_much_as_its_length(
    home: Site, asker: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is small is given at once, and waits for nothing large."""
    names = [(await kept(asker, text))["id"] for text in ("hello", "good morning")]
    found = [await home.app.store.kept_completion(name, caller="key/1") for name in names]
    lengths = [(len(one.completion), len(one.messages)) for one in found if one is not None]
    sizes: list[int] = []
    run = aside.run

    async def recorded(size: int, work: Any, **more: Any) -> Any:
        sizes.append(size)
        return await run(size, work, **more)

    monkeypatch.setattr(aside, "run", recorded)
    for path in (f"/{names[0]}", f"/{names[1]}/messages", ""):
        assert (await asker.get(f"/chat/completions{path}")).status == 200
    assert sizes == [lengths[0][0], lengths[1][1], lengths[0][0] + lengths[1][0]]
    assert max(sizes) < aside.LARGE


# --- what was not ---


async def test_nothing_is_stored_that_was_not_to_be_kept(tmp_path: Path) -> None:
    """Looked for in every file of the data directory, while it runs and after."""
    async with site(tmp_path) as home, program(home) as asker:
        home.engine.answer = lambda _: f"{SAID} {STOP}"
        for more in ({}, {"stream": True}, {"store": False}, {"response_format": FORM}, {"stop": STOP}):
            await asker.chat(TOLD, **more)
        await asker.chat(TOLD, tools=[TOOL])
        for stream in (False, True):
            await asker.text([SAID, RESULT], stop=STOP, stream=stream)
        assert (await asker.post("/embeddings", {"model": "text-embedding-ada-002", "input": SAID})).status == 200
        await asker.refused(CHAT, messages=[{"role": SAID, "content": SAID}], **{NAME: 1})
        await asker.refused(CHAT, 404, model=SAID, messages=TOLD)
        assert len(await home.app.store.api_usage()) == 3
        assert found_in(tmp_path) == set()
    assert found_in(tmp_path) == set()


async def test_what_was_removed_is_nowhere_any_more(tmp_path: Path) -> None:
    async with site(tmp_path) as home, program(home) as asker:
        ids = [(await asker.chat(TOLD, store=True, metadata={TOPIC: TOPIC}))["id"] for _ in range(3)]
        assert found_in(tmp_path) == {SAID, NAME, ARGUMENT, RESULT, TOPIC}
        await asker.post(f"/chat/completions/{ids[0]}", {"metadata": {}})
        for one in ids:
            assert (await asker.send("DELETE", f"/chat/completions/{one}")).status == 200
    assert found_in(tmp_path) == set()


@pytest.mark.parametrize("model", ["scripted", "embedded"])
async def test_the_log_holds_no_content(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, model: str
) -> None:
    """At no level, of no library, and not of what failed or was refused either."""
    caplog.set_level(logging.DEBUG)
    models = {"default": {"path": str(EMBEDDED_CHAT_MODEL), "threads": 1}} if model == "embedded" else {}
    async with site(tmp_path, models=models) as home:
        secret = await key(home, "asker")
        async with program(home, secret) as asker, program(home, new_secret()) as stranger:
            for more in ({}, {"stream": True}, {"response_format": FORM}, {"stop": STOP}, {"tools": [TOOL]}):
                await asker.chat(TOLD, **more, max_tokens=5, store=True, metadata={TOPIC: TOPIC}, user=NAME)
            await asker.text([SAID, RESULT], stop=STOP)
            await asker.get(f"/chat/completions?metadata[{TOPIC}]={TOPIC}")
            await asker.get(f"/chat/completions/{SAID}")
            await asker.get(f"/{SAID}?{TOPIC}={TOPIC}")
            await asker.refused(CHAT, messages=[{"role": SAID, "content": SAID}], **{NAME: 1})
            await asker.refused(CHAT, messages=TOLD * 2000)
            await asker.refused(CHAT, 404, model=SAID, messages=TOLD)
            await asker.refused(
                CHAT, messages=TOLD, response_format={**FORM, "json_schema": {"name": "a", "schema": {"type": SCHEMA}}}
            )
            await asker.send("POST", CHAT, data=f'{{"{SAID}'.encode(), headers={"Content-Type": "application/json"})
            assert (await stranger.post(CHAT, {"model": "default", "messages": TOLD})).status == 401
            for failure in (EngineBroken(), ZeroDivisionError()):
                home.engine.fail_with, home.engine.fail_after = failure, 2
                for stream in (False, True) if model == "scripted" else ():
                    await asker.post(f"{CHAT}?{TOPIC}=1", {"model": "default", "messages": TOLD, "stream": stream})
                    await asker.post(CHAT, {"model": "default", "messages": TOLD, "stream": stream})
                    await asker.post(TEXT, {"model": "default", "prompt": SAID, "stream": stream})
    told = "".join([*capfd.readouterr(), caplog.text])
    assert "model loaded" in told or model == "scripted"
    assert "a wrong key for the API" in told
    assert [word for word in (*WORDS, secret, secret[3:20]) if word in told] == []


async def test_what_was_kept_says_done_after_it_is_kept(asker: Program) -> None:
    """Who has read to the end finds it."""
    *chunks, done = await asker.streamed(CHAT, {"messages": HELLO, "store": True})
    assert done == DONE
    assert json.loads((await asker.get(f"/chat/completions/{chunks[0]['id']}")).body)["id"] == chunks[0]["id"]
