"""The page's API over a whole Hearth: what is a person's own, what owners see, and what nobody else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.web import exporting
from bot.messages import Destination, File, Outgoing
from tests.house import DEADLINE, until
from tests.web import BEN_TOKEN, OWNER_TOKEN, TOKENS, Browser, Site, site


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


async def test_the_page_says_who_one_is_and_what_there_is(owner: Browser) -> None:
    me = (await owner.get("/api/me")).json
    assert (me["person"], me["admin"]) == ("owner", True)
    assert [persona["name"] for persona in me["personas"]] == ["default"]
    assert [model["alias"] for model in me["models"]] == ["default"]
    assert me["defaults"] == {"persona": "default", "model": "default", "retention_days": 30, "transcripts": "always"}
    assert {"name": "model", "help": "shows or changes the model", "argument": "[NAME]"} in me["commands"]


async def test_the_page_says_how_the_program_is_called_to_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell finds it by its name, or only by its path; where that is nobody else needs to know."""
    folder = tmp_path / "my programs"
    folder.mkdir()
    command = folder / "hearth"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(command), "run"])
    for path, expected in (("/nowhere", f"'{command}'"), (str(folder), "hearth")):
        monkeypatch.setenv("PATH", path)
        async with site(tmp_path / expected[-3:], TOKENS) as home:
            async with home.person(OWNER_TOKEN) as owner:
                assert (await owner.get("/api/me")).json["program"] == expected
            async with home.person(BEN_TOKEN) as ben:
                assert (await ben.get("/api/me")).json["program"] == "hearth"


async def test_words_are_found_in_all_conversations(owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "The kraken sleeps")
    await owner.ask(await owner.begin(), "something else")
    found = (await owner.get("/api/search", params={"q": "KRAKEN sleeps"})).json
    assert [(row["role"], row["excerpt"]) for row in found] == [
        ("assistant", "You said: The kraken sleeps"),
        ("user", "The kraken sleeps"),
    ]
    assert where.endswith(found[0]["conversation"])
    assert (await owner.get("/api/search", params={"q": ""})).json == []
    assert (await owner.get("/api/search", params={"q": "x" * 201})).status == 400


async def test_a_conversation_can_be_taken_along(owner: Browser) -> None:
    where = await owner.begin()
    await owner.act("PATCH", where, {"title": 'Ships / "sails"'})
    await owner.ask(where, "hello")
    kept = await owner.get(f"{where}/export?format=json")
    assert kept.headers["Content-Disposition"] == (
        "attachment; filename=\"Ships sails.json\"; filename*=UTF-8''Ships%20sails.json"
    )
    assert [m["text"] for m in kept.json["messages"]] == ["hello", "You said: hello"]
    text = (await owner.get(f"{where}/export?format=markdown")).body.decode()
    assert text.startswith('# Ships / "sails"\n\n## owner, ')
    assert text.endswith("UTC\n\nYou said: hello\n")
    assert (await owner.get(f"{where}/export?format=exe")).status == 400


async def test_a_long_conversation_is_taken_along_whole(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    for number in range(10):
        await owner.say(where, f"{number}")
    await owner.settled(where)
    place = await home.app.store.find_conversation(home.page.screens.key("owner", where.rpartition("/")[2]))
    assert place is not None
    kept = await exporting.conversation(home.app.store, place, "json", page=3)
    assert isinstance(kept.body, bytes)
    texts = [message["text"] for message in json.loads(kept.body)["messages"] if message["role"] == "user"]
    assert texts == [str(number) for number in range(10)]


async def test_a_file_of_an_answer_is_a_download(owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "hello")
    await owner.say(where, "/export")
    await owner.settled(where)
    [state] = (await owner.get(where)).json["live"]
    [file] = state["files"]
    assert (file["name"], file["media_type"]) == ("hearth-export.json", "application/json")
    got = await owner.get(file["url"])
    assert len(got.body) == file["size"]
    assert got.headers["Content-Disposition"].startswith('attachment; filename="hearth-export.json"')
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.json["person"] == {"platform": "web", "id": "owner"}
    assert (await owner.get("/api/files/none")).status == 404


async def test_a_person_takes_everything_along_and_has_it_removed(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    await owner.act("PATCH", where, {"title": "mine"})
    await owner.ask(where, "hello")
    await owner.begin()
    exported = await owner.get("/api/export")
    assert exported.headers["Content-Disposition"].startswith('attachment; filename="hearth-export.json"')
    assert "You said: hello" in exported.body.decode()
    [row] = (await owner.get("/api/usage")).json
    assert row["messages"] == 1
    await owner.say(where, "/export")
    await owner.settled(where)
    url = (await owner.get(where)).json["live"][0]["files"][0]["url"]
    assert (await owner.get(url)).status == 200
    gone = await owner.post("/api/forget-me")
    assert gone.json == {"messages": 3, "answers": 2}
    assert (await owner.get(url)).status == 404
    assert (await owner.get("/api/conversations")).json == []
    assert (await owner.get("/api/usage")).json == []
    assert (await owner.get(where)).status == 404
    assert not home.page.screens.renderer.knows("hello")


async def test_after_the_command_forgetme_no_earlier_word_is_shown(owner: Browser) -> None:
    first, second = await owner.begin(), await owner.begin()
    await owner.ask(first, "a secret")
    await owner.say(first, "/history")
    await owner.settled(first)
    assert "a secret" in json.dumps((await owner.get(first)).json["live"])
    await owner.say(second, "/forgetme")
    async with asyncio.timeout(DEADLINE):
        while (await owner.get(first)).status != 404:
            await asyncio.sleep(0.01)
    live = owner.site.page.screens.live
    await until(lambda: live.of(("owner", first.rpartition("/")[2])) == [], "the end of the earlier words")


async def test_days_hold_for_all_conversations_and_for_new_ones(owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "hello")
    assert (await owner.get("/api/privacy")).json == {"days": 30}
    assert (await owner.post("/api/privacy", {"days": 3})).json == {"days": 3}
    assert (await owner.get(where)).json["settings"]["retention_days"] == 3
    assert (await owner.get(await owner.begin())).json["settings"]["retention_days"] == 3
    assert (await owner.get("/api/me")).json["defaults"]["retention_days"] == 3
    assert (await owner.post("/api/privacy", {"days": None})).json == {"days": 30}
    assert (await owner.get(where)).json["settings"]["retention_days"] is None
    assert len((await owner.get("/api/conversations")).json) == 1


async def test_owners_see_what_runs_and_nobody_s_words(owner: Browser) -> None:
    await owner.ask(await owner.begin(), "a secret")
    view = await owner.get("/api/owner")
    assert "a secret" not in view.body.decode()
    seen = view.json
    [model] = seen["models"]
    assert (model["alias"], model["state"], model["running"], model["waiting"]) == ("default", "loaded", 0, 0)
    assert {"name": "web", "account": "local", "state": "listening"} in seen["adapters"]
    assert (seen["queue"], seen["in_progress"], seen["waiting"]) == ({"default": 0}, 0, 0)
    [web] = seen["platforms"]
    assert (web["platform"], web["conversations"], web["messages"], web["people"]) == ("web", 1, 2, 1)
    assert seen["usage"][0]["messages"] == 1
    rows = {row["what"]: row["good"] for row in (await owner.get("/api/owner/check")).json}
    assert rows["database"] is True
    assert rows["process"] is True


async def test_supervisors_learn_whether_it_works(owner: Browser) -> None:
    assert (await owner.get("/healthz")).json == {"status": "ok"}
    assert (await owner.get("/readyz")).status == 200
    assert b"hearth_answers_total" in (await owner.get("/metrics")).body


async def test_another_person_sees_nothing_of_it(tmp_path: Path) -> None:
    async with site(tmp_path, TOKENS) as home, home.browser(Authorization=f"Bearer {BEN_TOKEN}") as ben:
        where = await ben.begin()
        await ben.ask(where, "of Ben")
        async with home.person(TOKENS["people"]["ann"]) as ann:
            assert (await ann.get(where)).status == 404
            assert (await ann.get("/api/conversations")).json == []
            assert (await ann.get("/api/search", params={"q": "Ben"})).json == []
            assert (await ann.get("/api/owner")).status == 403
            assert (await ann.get("/metrics")).status == 403


SCRIPT = "<script>alert(1)</script>"


async def test_script_in_names_titles_and_questions_stays_text(tmp_path: Path) -> None:
    """The page gets them as JSON, which no browser reads as a page, and as HTML only what was rendered."""
    personas = {SCRIPT: {"description": SCRIPT}}
    async with site(tmp_path, personas=personas) as home, home.browser() as owner:
        where = await owner.begin()
        assert (await owner.act("PATCH", where, {"title": SCRIPT, "persona": SCRIPT})).status == 200
        answer = await owner.ask(where, SCRIPT)
        assert answer["text"] == f"You said: {SCRIPT}"
        assert answer["html"] == "<p>You said: &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"
        await home.page.send(
            Destination(key=home.page.screens.key("owner", where.rpartition("/")[2]), interaction="a-question"),
            Outgoing(text=SCRIPT, plain=True, files=(File(f"{SCRIPT}.html", "text/html", SCRIPT.encode()),)),
        )
        shown = await owner.get(where)
        [state] = shown.json["live"]
        assert state["html"] == "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>"
        for path in (where, "/api/conversations", "/api/me", f"{where}/export?format=json", state["files"][0]["url"]):
            got = await owner.get(path)
            assert got.headers["X-Content-Type-Options"] == "nosniff"
            assert got.headers["Content-Type"] in {
                "application/json; charset=utf-8",
                "application/octet-stream",
            }


async def test_another_person_s_file_is_not_there(tmp_path: Path) -> None:
    async with site(tmp_path, TOKENS) as home, home.person(TOKENS["people"]["ann"]) as ann:
        where = await ann.begin()
        await ann.say(where, "/export")
        await ann.settled(where)
        [state] = (await ann.get(where)).json["live"]
        url = state["files"][0]["url"]
        assert (await ann.get(url)).status == 200
        async with home.browser(Authorization=f"Bearer {BEN_TOKEN}") as ben:
            assert (await ben.get(url)).status == 404


async def test_a_message_of_another_conversation_cannot_be_answered_or_chosen(owner: Browser) -> None:
    first, second = await owner.begin(), await owner.begin()
    answer = await owner.ask(first, "one")
    await owner.ask(second, "two")
    await owner.post(f"{second}/retry", {"event": "retry-01", "message": answer["id"]})
    assert (await owner.post(f"{second}/choose", {"message": answer["id"]})).status == 404
    assert told(await owner.settled(first)) == [("user", "one"), ("assistant", "You said: one")]
    assert told(await owner.settled(second)) == [("user", "two"), ("assistant", "You said: two")]
    assert await owner.ask(second, "three", follows=answer["id"])
    assert [text for role, text in told(await owner.settled(second)) if role == "user"] == ["two", "three"]


async def test_where_nothing_is_kept_the_answer_can_still_be_read(tmp_path: Path) -> None:
    async with site(tmp_path, retention={"days": 0}) as home, home.browser() as owner:
        where = await owner.begin()
        await owner.say(where, "hello")
        shown = await owner.settled(where)
        assert (shown["messages"], [state["text"] for state in shown["live"]]) == ([], ["You said: hello"])
        assert not home.page.screens.renderer.knows("hello")
        assert not home.page.screens.renderer.knows("You said: hello")
