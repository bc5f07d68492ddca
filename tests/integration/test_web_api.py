"""The page's API over a whole Hearth: what a person sees, says, changes and takes along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from bot.errors import EngineBroken
from bot.testing import ScriptedEngine
from tests.house import until
from tests.web import Browser, Site, events, site


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def owner(home: Site) -> AsyncIterator[Browser]:
    async with home.browser() as browser:
        yield browser


def told(shown: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["text"]) for message in shown["messages"]]


async def test_what_is_asked_is_answered_and_stands_in_the_line(owner: Browser) -> None:
    where = await owner.begin()
    answer = await owner.ask(where, "**hello**")
    assert (answer["role"], answer["text"]) == ("assistant", "You said: **hello**")
    assert answer["html"] == "<p>You said: <strong>hello</strong></p>\n"
    assert answer["model"] == "scripted@000000000000"
    assert answer["tokens"]["completion"] == 19 + 1
    shown = await owner.settled(where)
    assert told(shown) == [("user", "**hello**"), ("assistant", "You said: **hello**")]
    question = shown["messages"][0]
    assert (question["author"], question["parent"], question["siblings"]) == ("owner", None, [question["id"]])
    assert answer["parent"] == question["id"]
    assert (shown["live"], shown["more"]) == ([], False)


async def test_a_list_shows_the_newest_conversation_first(owner: Browser) -> None:
    first, second = await owner.begin(), await owner.begin()
    await owner.ask(first, "one")
    await owner.ask(second, "two")
    rows = (await owner.get("/api/conversations")).json
    assert [(row["opening"], row["waiting"]) for row in rows] == [("two", False), ("one", False)]
    assert second.endswith(rows[0]["id"])


async def test_the_same_event_again_is_the_same_question(owner: Browser) -> None:
    where = await owner.begin()
    event = await owner.say(where, "once")
    again = await owner.post(f"{where}/messages", {"event": event, "text": "once"})
    assert again.status == 202
    assert told(await owner.settled(where)) == [("user", "once"), ("assistant", "You said: once")]


async def test_a_conversation_whose_id_the_page_chose_is_made_once(owner: Browser) -> None:
    """Its first answer may have been lost on the way."""
    made = await owner.post("/api/conversations", {"id": "chosen-by-the-page"})
    assert (made.status, made.json) == (201, {"id": "chosen-by-the-page"})
    await owner.post("/api/privacy", {"days": 3})
    await owner.act("PATCH", "/api/conversations/chosen-by-the-page", {"title": "Ships", "retention_days": 7})
    again = await owner.post("/api/conversations", {"id": "chosen-by-the-page"})
    assert (again.status, again.json) == (200, {"id": "chosen-by-the-page"})
    shown = (await owner.get("/api/conversations/chosen-by-the-page")).json
    assert (shown["title"], shown["settings"]["retention_days"]) == ("Ships", 7)
    for wrong in ("", "a b", "../x", "x" * 65, 5, ["x"]):
        assert (await owner.post("/api/conversations", {"id": wrong})).status == 400


async def test_a_conversation_is_made_of_a_json_object_or_not_at_all(owner: Browser) -> None:
    for sent in ("[]", "nonsense", '"id"'):
        headers = {"Origin": owner.site.origin, "X-Hearth": "page", "Content-Type": "application/json"}
        assert (await owner.send("POST", "/api/conversations", data=sent, headers=headers)).status == 400


async def test_a_title_cannot_turn_around_what_stands_beside_it(owner: Browser) -> None:
    where = await owner.begin()
    await owner.act("PATCH", where, {"title": "\u202eevil\u202c \u2066and\u2069 \u202a good"})
    assert (await owner.get(where)).json["title"] == "evil and good"


async def test_an_answer_is_pushed_as_it_grows_and_then_stands_in_the_line(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    async with aclosing(events(owner)) as stream:
        await opened(stream, home)
        home.engine.stall_after = 5
        event = await owner.say(where, "hello")
        seen = []
        async for name, data in stream:
            seen.append((name, data))
            if name == "state" and data["text"] == "You s":
                break
        state = seen[-1][1]
        assert (state["event"], state["final"], state["failed"], state["notice"]) == (event, False, False, False)
        assert state["html"] == "<p>You s</p>\n"
        shown = (await owner.get(where)).json
        assert [live["text"] for live in shown["live"]] == ["You s"]
        assert shown["live"][0]["seq"] <= shown["seq"]
        home.engine.resume.set()
        async for name, data in stream:
            if name == "state" and data["final"]:
                break
        assert (data["text"], data["number"]) == ("You said: hello", state["number"])
        assert data["seq"] > shown["seq"]
        async for name, _ in stream:
            if name == "changed":
                break
        shown = (await owner.get(where)).json
        assert told(shown) == [("user", "hello"), ("assistant", "You said: hello")]
        assert shown["live"] == []


async def opened(stream: Any, home: Site) -> None:
    """Returns once the page counts the stream: from then on it is told everything."""
    task = asyncio.ensure_future(anext(stream))
    await until(lambda: home.page.screens.streams.count == 1, "the stream")
    home.page.screens.streams.changed("owner", "begin")
    assert await task == ("changed", {"conversation": "begin"})


async def first_words(home: Site, where: str) -> None:
    """Returns when the page shows all that an answer has before it stalls at its fifth token."""
    place = ("owner", where.rpartition("/")[2])
    await until(lambda: [shown.what.text for shown in home.page.screens.live.of(place)] == ["You s"], "the first words")


async def test_an_answer_is_never_shown_twice_and_never_missing(home: Site, owner: Browser) -> None:
    """Whoever looks at any moment sees each answer once: in the line, or beside it."""
    where = await owner.begin()
    for number in range(20):
        await owner.say(where, f"question {number}")
        answer, seen, in_line = f"You said: question {number}", 0, False
        while not in_line:
            shown = (await owner.get(where)).json
            in_line = answer in [text for _, text in told(shown)]
            live = [state["text"] for state in shown["live"]].count(answer)
            assert in_line + live <= 1
            assert in_line or live >= seen, "it was shown already"
            seen = live


async def test_a_stop_ends_the_answer(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    home.engine.stall_after = 5
    await owner.say(where, "hello")
    await first_words(home, where)
    assert (await owner.post(f"{where}/stop", {"event": "stop-one"})).status == 202
    shown = await owner.settled(where)
    assert told(shown) == [("user", "hello"), ("assistant", "You s")]
    assert shown["messages"][-1]["state"] == "stopped"


async def test_a_retry_is_a_sibling_and_one_can_choose(owner: Browser) -> None:
    where = await owner.begin()
    first = await owner.ask(where, "hello")
    assert (await owner.post(f"{where}/retry", {"event": "retry-01", "message": first["id"]})).status == 202
    shown = await owner.settled(where)
    second = shown["messages"][-1]
    assert second["siblings"] == [first["id"], second["id"]]
    assert (await owner.post(f"{where}/choose", {"message": first["id"]})).status == 200
    assert (await owner.get(where)).json["messages"][-1]["id"] == first["id"]


async def test_a_question_that_is_put_anew_begins_a_branch(owner: Browser) -> None:
    where = await owner.begin()
    first = await owner.ask(where, "one")
    await owner.ask(where, "two")
    await owner.ask(where, "two, better", follows=first["id"])
    shown = await owner.settled(where)
    assert [text for role, text in told(shown) if role == "user"] == ["one", "two, better"]
    assert len(shown["messages"][2]["siblings"]) == 2
    await owner.ask(where, "all anew", follows=0)
    assert [text for role, text in told(await owner.settled(where)) if role == "user"] == ["all anew"]


async def test_older_messages_come_when_they_are_asked_for(owner: Browser) -> None:
    where = await owner.begin()
    for number in range(25):
        await owner.say(where, f"{number}")
    shown = await owner.settled(where)
    assert (len(shown["messages"]), shown["more"]) == (40, True)
    older = (await owner.get(f"{where}?before={shown['messages'][0]['id']}")).json
    assert (len(older["messages"]), older["more"]) == (10, False)
    assert older["messages"][0]["text"] == "0"


async def test_settings_belong_to_the_conversation(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    changed = {"title": "  Of\tships ", "system_prompt": "You are a pirate.", "retention_days": 7, "model": "default"}
    changed["transcripts"] = "asked"
    assert (await owner.act("PATCH", where, changed)).status == 200
    shown = (await owner.get(where)).json
    assert shown["title"] == "Of ships"
    own = {"model": "default", "persona": None, "system_prompt": "You are a pirate.", "retention_days": 7}
    assert shown["settings"] == {**own, "transcripts": "asked"}
    await owner.ask(where, "hello")
    assert "You are a pirate." in home.engine.decode(home.engine.requests[-1].prompt)
    nothing = {"system_prompt": None, "title": None, "transcripts": None}
    assert (await owner.act("PATCH", where, nothing)).status == 200
    shown = (await owner.get(where)).json
    assert (shown["title"], shown["settings"]["system_prompt"]) == ("", None)
    assert shown["settings"]["transcripts"] is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": "nothing"}, "model: there is none of this name"),
        ({"persona": "nobody"}, "persona: there is none of this name"),
        ({"persona": 7}, "persona: must be text"),
        ({"system_prompt": "x" * 8001}, "system_prompt: at most 8000 characters"),
        ({"retention_days": -1}, "retention_days: a number of days from 0 to 36500, or null for the usual"),
        ({"retention_days": True}, "retention_days: a number of days from 0 to 36500, or null for the usual"),
        ({"transcripts": "often"}, "transcripts: one of always, asked, never, or null for the usual"),
        ({"transcripts": ["always"]}, "transcripts: one of always, asked, never, or null for the usual"),
        ({"title": "x" * 201}, "title: at most 200 characters"),
        ({"colour": "red"}, "There is no setting 'colour'."),
    ],
)
async def test_a_setting_that_cannot_be_is_refused_in_words(
    owner: Browser, changed: dict[str, object], words: str
) -> None:
    where = await owner.begin()
    refused = await owner.act("PATCH", where, changed)
    assert (refused.status, refused.error) == (400, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"event": "short", "text": "hi"}, "event: 8 to 64 letters, digits, - or _ (a UUID)"),
        ({"event": "a" * 10, "text": " \n"}, "text: there is nothing in it"),
        ({"event": "a" * 10}, "text: must be text"),
        ({"event": "a" * 10, "text": "hi", "follows": "1"}, "follows: must be the number of a message"),
        ([], "The body is not a JSON object."),
    ],
)
async def test_a_message_that_cannot_be_is_refused_in_words(owner: Browser, body: object, words: str) -> None:
    where = await owner.begin()
    refused = await owner.post(f"{where}/messages", body)
    assert (refused.status, refused.error) == (400, words)


async def test_a_conversation_is_removed_with_all_that_is_in_it(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "a secret of mine")
    assert (await owner.act("DELETE", where)).status == 200
    assert (await owner.get(where)).status == 404
    assert (await owner.get("/api/conversations")).json == []
    assert not home.page.screens.renderer.knows("a secret of mine")


async def test_a_conversation_that_is_removed_in_the_middle_of_an_answer_shows_nothing_more(
    home: Site, owner: Browser
) -> None:
    where = await owner.begin()
    home.engine.stall_after = 5
    await owner.say(where, "hello")
    await first_words(home, where)
    assert (await owner.act("DELETE", where)).status == 200
    await until(lambda: home.app.dispatcher.in_progress == 0, "the end of the answer")
    assert home.page.screens.live.of(("owner", where.rpartition("/")[2])) == []


async def test_what_a_command_says_can_be_read_for_a_while(owner: Browser) -> None:
    where = await owner.begin()
    event = await owner.say(where, "/help")
    await owner.settled(where)
    [state] = (await owner.get(where)).json["live"]
    assert (state["event"], state["final"]) == (event, True)
    assert state["text"].startswith("/help - lists the commands")


async def test_a_summary_is_beside_the_line_and_can_be_read_for_a_while(owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "hello")
    event = await owner.say(where, "/summarise")
    shown = await owner.settled(where)
    assert told(shown) == [("user", "hello"), ("assistant", "You said: hello")]
    [state] = (await owner.get(where)).json["live"]
    assert (state["event"], state["final"]) == (event, True)
    assert state["text"].startswith("You said: Summarise our conversation")


async def test_a_question_that_looks_like_a_command_stands_in_the_line_alone(owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "/etc/hosts is a file")
    shown = await owner.settled(where)
    assert (len(told(shown)), shown["live"]) == (2, [])


async def test_an_answer_goes_on_after_a_restart_and_is_shown_complete(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.stall_after = 5
    async with site(tmp_path, engine=engine, chat={"drain": 0.05}) as home, home.browser() as owner:
        where = await owner.begin()
        await owner.say(where, "hello")
        await first_words(home, where)
    async with site(tmp_path) as home, home.browser() as owner:
        assert told(await owner.settled(where)) == [("user", "hello"), ("assistant", "You said: hello")]


async def test_a_page_that_is_about_to_end_takes_no_message(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    home.page.refuse()
    refused = await owner.post(f"{where}/messages", {"event": "a" * 10, "text": "hello"})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "3")
    assert (await owner.get(where)).status == 200


async def test_a_failure_is_told_and_its_words_can_be_read_after_it(home: Site, owner: Browser) -> None:
    home.engine.fail_with = EngineBroken(detail="the weights are gone")
    where = await owner.begin()
    event = await owner.say(where, "hello")
    shown = await owner.settled(where)
    [question] = shown["messages"]
    assert (question["text"], question["outcome"]) == ("hello", "failed")
    [state] = shown["live"]
    assert (state["event"], state["failed"], state["final"]) == (event, True, True)
    assert state["text"] == "The model failed. Please try again."
    assert "the weights are gone" not in json.dumps(shown)
