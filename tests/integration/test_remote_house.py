"""A whole Hearth whose model is on a server: long conversations, groups, stops, a server that dies, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.check import inspect
from bot.config import Config
from bot.messages import ActionName, Role
from bot.testing import ScriptedEngine
from tests.house import BEA, configuration, house, until
from tests.model_server import ModelServer, breaks_off, llama_server, refuses, says, serving, words


def on(*servers: ModelServer | str, **settings: Any) -> Config:
    """The configuration for a model on these servers."""
    urls = [server if isinstance(server, str) else server.url for server in servers]
    return configuration(
        models={"default": {"urls": urls, **settings}},
        personas={"default": {"system": "You are Hearth."}},
        chat={"max_tokens": 200},
    )


@pytest.mark.parametrize("counts", ["vllm", "llamacpp", "not"])
async def test_a_long_conversation_is_cut_seldom_and_always_fits(tmp_path: Path, counts: Any) -> None:
    """Each prompt has the system's text and the last question, begins with the user, and mostly continues the last."""
    server = ModelServer(ScriptedEngine(lambda prompt: "So be it. " * 6, context_length=2000), counts=counts)
    async with serving(server), house(tmp_path, on(server)) as h:
        for n in range(40):
            assert await h.ask(f"question {n}: {'what then? ' * 5}") == "So be it. " * 5 + "So be it."
        prompts = [body["messages"] for body in server.asked]
        assert len(prompts) == 40
        assert max(len(server.ids(prompt)) for prompt in prompts) <= 1800
        assert {prompt[0]["content"] for prompt in prompts} == {"You are Hearth."}
        assert {prompt[1]["role"] for prompt in prompts} == {"user"}
        cuts = [n for n in range(1, 40) if prompts[n][: len(prompts[n - 1])] != prompts[n - 1]]
        assert 2 <= len(cuts) <= 6
        assert server.engine.cached > server.engine.prefilled
        assert len(await h.line()) < 40  # what was cut is not read again


async def test_what_llamacpps_own_server_is_told_it_remembers(tmp_path: Path) -> None:
    async with llama_server(key="k") as url, house(tmp_path, on(url, api_key="k", temperature=0)) as h:
        await h.ask("Hello!")
        await h.ask("My name is Tom.")
        assert "Tom" in await h.ask("What is my name?")
        [row] = await h.store.usage()
        assert row["messages"] == 3
        assert row["model"] == "default@hearth-demo-chat.gguf"
        assert int(str(row["cached_tokens"])) > 30


async def test_an_answer_that_broke_off_is_begun_anew_in_its_place(tmp_path: Path) -> None:
    async with serving(ModelServer()) as server, house(tmp_path, on(server)) as h:
        server.faults.append(breaks_off(words("Half an", " answer")))
        await h.say("hello")
        await h.settled()
        assert h.texts() == ["You said: hello"]
        assert [(m.role, m.text, m.token_ids) for m in await h.store.history((await h.conversation()).head)] == [
            (Role.USER, "hello", None),
            (Role.ASSISTANT, "You said: hello", None),
        ]


async def test_when_a_server_dies_its_conversations_go_on_at_the_other(tmp_path: Path) -> None:
    async with serving(ModelServer()) as two:
        one = ModelServer()
        async with serving(one), house(tmp_path, on(one, two)) as h:
            for chat in "abcdefgh":
                await h.ask(f"hello, I am {chat}", chat=chat)
            assert one.asked
            assert two.asked
            one.faults.extend([breaks_off(), refuses(500)] * 50)
            for chat in "abcdefgh":
                assert await h.ask("still there?", chat=chat) == "You said: still there?"


async def test_in_a_group_everybody_is_named_and_the_roles_alternate(tmp_path: Path) -> None:
    config = on("http://127.0.0.1:1/v1").model_dump() | {"chat": {"remember_group_talk": True, "max_tokens": 200}}
    async with serving(ModelServer()) as server:
        config["models"] = {"default": {"url": server.url}}
        async with house(tmp_path, Config.model_validate(config)) as h:
            await h.say("tea is best", group=True, addressed=False)
            await h.say("no, coffee", group=True, addressed=False, author=BEA)
            await h.ask("who is right?", group=True)
            assert server.asked[0]["messages"] == [
                {"role": "system", "content": "You are Hearth."},
                {"role": "user", "content": "Ada: tea is best\n\nBea: no, coffee\n\nAda: who is right?"},
            ]


async def test_a_stop_frees_the_server_and_what_was_said_stays(tmp_path: Path) -> None:
    server = ModelServer()
    server.engine.stall_after = 5
    async with serving(server), house(tmp_path, on(server)) as h:
        await h.say("tell me")
        await until(lambda: server.engine.active == 1 and "You s" in "".join(h.texts()), "the first words")
        await h.press(ActionName.STOP)
        await h.settled()
        await until(lambda: server.engine.active == 0, "the server to stop")
        assert (await h.line())[-1] == (Role.ASSISTANT, "You s")
        [row] = await h.store.usage()
        assert row["completion_tokens"] == 5
        assert int(str(row["prompt_tokens"])) > 0


async def test_thinking_is_not_shown(tmp_path: Path) -> None:
    thought = b'data: {"choices": [{"delta": {"reasoning_content": "Hm. Well."}}]}\n\n'
    async with serving(ModelServer()) as server, house(tmp_path, on(server)) as h:
        server.faults.append(says(thought + words("<think>Hm.</think>", "Yes.") + b"data: [DONE]\n\n"))
        assert await h.ask("sure?") == "Yes."


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "The model's server does not let me in; my owner finds the reason in the log."),
        (404, "The model's server does not know this model; my owner finds the reason in the log."),
        (400, "The model's server refuses this request."),
        (413, "This is too long for the model. Please send less at a time."),
    ],
)
async def test_what_a_server_refuses_is_told_at_once(tmp_path: Path, status: int, told: str) -> None:
    async with serving(ModelServer()) as server, house(tmp_path, on(server)) as h:
        server.faults.extend([refuses(status)] * 2)
        assert await h.ask("hello") == told
        assert await h.ask("hello?") in {told, "You said: hello\n\nhello?"}


async def test_privacy_says_where_the_words_go(tmp_path: Path) -> None:
    far = "They are in a database on the machine of this bot's owner, and go to another server, which the owner chose"
    settings = {"remote_model": "m", "context_length": 999}
    async with house(tmp_path, on("https://llm.example.org/v1", **settings)) as h:
        assert far in await h.ask("/privacy")
        assert await h.ask("/model") == "* default: on another server\n\n/model NAME changes it."
    async with house(tmp_path, on("http://127.0.0.1:1/v1", **settings)) as h:
        assert "and the model runs there too" in await h.ask("/privacy")


async def asked(config: Config, folder: Path) -> dict[str, tuple[bool, str]]:
    """What `hearth check` finds of the model that chats."""
    settings = config.model_copy(update={"data_dir": folder})
    return {f.what: (f.good, f.words) for f in await inspect(settings) if f.what.startswith("model default")}


async def test_check_asks_each_server_and_says_whose_promise_the_roles_are(tmp_path: Path) -> None:
    async with serving(ModelServer(counts="vllm")) as one, serving(ModelServer(key="other")) as two:
        gone = "http://127.0.0.1:1/v1"
        found = await asked(on(one, two, gone, context_length=4000), tmp_path)
        assert list(found) == [f"model default at {url}" for url in (one.url, two.url, gone)]
        good, told = found[f"model default at {one.url}"]
        assert good
        assert told.startswith("stand-in-7b, context 4000; keeping control strings in people's text from being taken")
        assert found[f"model default at {two.url}"] == (False, f"{two.url}: 401 invalid_request_error: Invalid API key")
        assert not found[f"model default at {gone}"][0]
        assert one.asked == two.asked == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"context_length": 8192}, "stand-in-7b: context_length is 8192, but the server has 4096"),
        ({"remote_model": "big"}, None),
    ],
)
async def test_check_finds_what_does_not_fit_together(
    tmp_path: Path, settings: dict[str, Any], words: str | None
) -> None:
    async with serving(ModelServer()) as server:
        [(good, told)] = (await asked(on(server, **settings), tmp_path)).values()
        assert good is (words is None)
        assert told == words or "(the server calls it stand-in-7b)" in told
