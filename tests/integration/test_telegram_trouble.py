"""Telegram when things go wrong: repeats, lost acknowledgements, floods, outages, refusals, a database that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.telegram import polling, updates
from adapters.telegram.adapter import Telegram
from bot.errors import Barred, DatabaseError, FloodWait, MessageGone, StartError, TextRefused, Unreachable
from bot.messages import ConversationKey, Destination, Event, Message, MessageRef, Outgoing, Preview, Typing
from tests.telegram import Chat, TelegramServer, User, serving
from tests.telegram_house import telegram_config, telegram_house


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for Telegram to be well again."""
    monkeypatch.setattr(polling, "REST_LEAST", 0.01)
    monkeypatch.setattr(polling, "CONFLICT_SECONDS", 0.01)


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def private(server: TelegramServer, ada: User) -> Chat:
    return server.world.private(ada)


@pytest.fixture
async def telegram(server: TelegramServer, tmp_path: Path) -> AsyncIterator[Telegram]:
    """An adapter that only sends."""
    made = Telegram(telegram_config(tmp_path, server).telegram)
    yield made
    await made.aclose()


def to(server: TelegramServer, chat: Chat) -> Destination:
    return Destination(key=ConversationKey("telegram", str(server.world.bot.id), str(chat.id)))


# What comes in


async def test_an_update_that_comes_again_is_answered_once(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "hello")
        await h.answered(private, "You said: hello")
        server.repeat()
        private.say(ada, "again")
        await h.answered(private, "You said: hello", "You said: again")


async def test_what_the_database_refuses_is_not_acknowledged(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    """It comes again, and is committed then."""
    heard: list[Event] = []
    refusals = [DatabaseError("the disk is full")]

    async def receive(event: Event) -> None:
        if refusals:
            raise refusals.pop()
        heard.append(event)

    adapter = Telegram(telegram_config(tmp_path, server).telegram)
    private.photo(ada, b"jpeg", extra={"media_group_id": "7"})
    private.photo(ada, b"jpeg", extra={"media_group_id": "7"})
    private.say(ada, "hello")
    with pytest.raises(DatabaseError):
        await adapter.listen(receive)
    assert server.queue.pending
    task = asyncio.create_task(adapter.listen(receive))
    await server.wait_for(lambda: not server.queue.pending, "the acknowledgement")
    assert [event.text for event in heard if isinstance(event, Message)] == ["", "hello"]  # one word for an album
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_updates_that_nobody_can_take_do_not_keep_the_later_ones(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that cannot be read, nor those with which something goes wrong on the way."""
    original = updates.event_of

    def fragile(update: object, *rest: object) -> object:
        event = original(update, *rest)  # type: ignore[arg-type]
        if isinstance(event, Message) and event.text == "poison":
            raise TypeError("what is this?")
        return event

    monkeypatch.setattr("adapters.telegram.intake.event_of", fragile)
    with capture_logs() as logs:
        async with telegram_house(tmp_path, server) as h:
            private.say(ada, "poison")
            unread: list[Any] = [{"message_id": 1}, [], {"chat": {"id": []}, "date": "yesterday"}]
            for broken in unread:
                server.queue.emit("message", broken)
            private.say(ada, "hello")
            await h.answered(private, "You said: hello")
    assert len([log for log in logs if log["event"] == "an update is passed over"]) == 4
    assert not [log for log in logs if log["event"] == "adapter died"]


async def test_telegram_is_away_and_comes_back(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    for kind in ("500", "502", "drop", "garbage"):
        server.fail("getUpdates", kind)
    server.fail("getMe", "502", times=2)
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "hello")
        await h.answered(private, "You said: hello")


async def test_another_program_with_the_same_token_is_told_of(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    server.fail("getUpdates", "refuse", code=409, description="Conflict: terminated by other getUpdates request")
    with capture_logs() as logs:
        async with telegram_house(tmp_path, server) as h:
            private.say(ada, "hello")
            await h.answered(private, "You said: hello")
    assert [log["event"] for log in logs if "another program" in log["event"]]


async def test_a_webhook_that_somebody_set_is_removed(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    server.webhook.url = "https://elsewhere.example.org/"
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "hello")
        await h.answered(private, "You said: hello")


async def test_a_token_that_is_refused_ends_the_start_with_words(tmp_path: Path, server: TelegramServer) -> None:
    config = telegram_config(tmp_path, server, telegram={"token": f"{server.world.bot.id}:{'x' * 35}"})

    async def receive(_: Event) -> None:
        raise AssertionError("nothing was said")

    adapter = Telegram(config.telegram)
    with pytest.raises(StartError, match="BotFather") as caught:
        await adapter.listen(receive)
    assert "xxx" not in str(caught.value)
    await adapter.aclose()


# What goes out


async def test_an_answer_goes_through_floods_and_outages(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    server.fail("sendMessage", "429", retry_after=1)
    server.fail("sendMessage", "500")
    server.fail("sendMessage", "drop")
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "hello")
        await h.answered(private, "You said: hello")


async def test_a_lost_acknowledgement_doubles_one_message_at_most(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    server.fail("sendMessage", "lost")
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "hello")
        await h.answered(private, *["You said: hello"] * 2)
        private.say(ada, "again")
        await h.answered(private, *["You said: hello"] * 2, "You said: again")


async def test_a_lost_acknowledgement_of_an_edit_doubles_nothing(
    tmp_path: Path, server: TelegramServer, ada: User
) -> None:
    group = server.world.supergroup("Friends", ada)
    server.fail("editMessageText", "lost", times=3)
    async with telegram_house(tmp_path, server) as h:
        h.engine.stall_after = 3
        group.say(ada, "@hearth_bot hello")
        await server.wait_for(lambda: group.from_bot, "the placeholder")
        h.engine.resume.set()
        await h.answered(group, "You said: Ada: hello")


async def test_html_that_is_refused_is_sent_plain(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    server.fail("sendMessage", "refuse", description="Bad Request: can't parse entities: unexpected end tag")
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "**hello**")
        await h.answered(private, "You said: **hello**")


async def test_an_answer_to_who_has_blocked_the_bot_is_closed_at_once(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    async with telegram_house(tmp_path, server) as h:
        h.engine.stall_after = 0
        private.say(ada, "hello")
        await server.wait_for(lambda: h.engine.active == 1, "the question")
        private.block()
        h.engine.resume.set()
        await h.settled()
        assert not private.from_bot
        assert await h.app.store.find_conversation(h.key(private)) is None  # nothing is kept of a chat that was left


async def test_a_chat_that_the_bot_was_thrown_out_of_leaves_nothing(
    tmp_path: Path, server: TelegramServer, ada: User
) -> None:
    group = server.world.supergroup("Friends", ada)
    async with telegram_house(tmp_path, server) as h:
        group.say(ada, "@hearth_bot hello")
        await h.answered(group, "You said: Ada: hello")
        group.kick_bot(ada)
        await h.settled()
        assert await h.app.store.find_conversation(h.key(group)) is None
        group.add_bot(ada)
        group.say(ada, "@hearth_bot do you know me?")
        await h.answered(group, "You said: Ada: hello", "You said: Ada: do you know me?")
        assert "hello" not in h.prompts()[-1]


@pytest.mark.parametrize(
    ("description", "code", "error"),
    [
        ("Bad Request: message to edit not found", 400, MessageGone),
        ("Bad Request: can't parse entities: Can't find end tag", 400, TextRefused),
        ("Bad Request: chat not found", 400, Barred),
        ("Bad Request: not enough rights to send text messages to the chat", 400, Barred),
        ("Forbidden: bot was blocked by the user", 403, Barred),
        ("Internal Server Error", 500, Unreachable),
        ("Unauthorized", 401, Unreachable),
    ],
)
async def test_refusals_by_their_kind(
    server: TelegramServer, telegram: Telegram, private: Chat, description: str, code: int, error: type[Exception]
) -> None:
    server.fail("editMessageText", "refuse", code=code, description=description)
    where = MessageRef(to(server, private).key, "1")
    with pytest.raises(error):
        await telegram.edit(where, Outgoing(text="hello"))


async def test_a_flood_says_how_long_to_wait(server: TelegramServer, telegram: Telegram, private: Chat) -> None:
    server.fail("sendMessage", "429", retry_after=17)
    with pytest.raises(FloodWait) as caught:
        await telegram.send(to(server, private), Outgoing(text="hello"))
    assert caught.value.seconds == 17


async def test_a_sign_of_life_fails_for_floods_alone(server: TelegramServer, telegram: Telegram, private: Chat) -> None:
    for sign in (Typing(), Preview("half a sen")):
        server.fail("*", "429", retry_after=7)
        with pytest.raises(FloodWait) as caught:  # so that nothing else is sent there meanwhile
            await telegram.show(to(server, private), sign)
        assert caught.value.seconds == 7
    for kind in ("500", "drop", "garbage"):
        server.fail("sendChatAction", kind)
        server.fail("sendMessageDraft", kind)
        await telegram.show(to(server, private), Typing())
        await telegram.show(to(server, private), Preview("half a sen"))
    for words in ("can't parse entities: unexpected end tag", "chat not found"):
        server.fail("sendMessageDraft", "refuse", description=f"Bad Request: {words}")
        await telegram.show(to(server, private), Preview("half a sen"))
    assert telegram.limits.previews  # neither an outage nor a text is a refusal of all drafts
    server.fail("sendMessageDraft", "refuse", code=404, description="Not Found")
    await telegram.show(to(server, private), Preview("half a sen"))
    assert not telegram.limits.previews


async def test_the_token_is_in_no_log_and_no_error(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    for method in ("getUpdates", "sendMessage", "getMe"):
        for kind in ("500", "drop", "garbage", "429"):
            server.fail(method, kind, retry_after=1) if kind == "429" else server.fail(method, kind)
    with capture_logs() as logs:
        async with telegram_house(tmp_path, server) as h:
            private.say(ada, "a secret word")
            await server.wait_for(lambda: private.from_bot, "the answer")
            await h.settled()
    said = str([log for log in logs if log["log_level"] != "debug"]) + caplog.text
    assert server.token.partition(":")[2] not in said
    assert "a secret word" not in said


# What is said beside answers


async def test_a_flood_that_a_passing_word_meets_holds_for_the_answers_too(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    server.fail("sendMessage", "429", retry_after=2)
    async with telegram_house(tmp_path, server) as h:
        private.say(ada, "/stop")
        await server.wait_for(lambda: server.called("sendMessage"), "the word")
        private.say(ada, "hello")
        await h.answered(private, "You said: hello")
    refused, answered = server.called("sendMessage")
    assert answered.at - refused.at >= 2


async def test_who_stops_all_the_time_is_not_told_so_all_the_time(
    tmp_path: Path, server: TelegramServer, ada: User
) -> None:
    group = server.world.supergroup("Friends", ada)
    async with telegram_house(tmp_path, server, telegram={"group_pace": 0.5}) as h:
        for _ in range(30):
            group.say(ada, "/stop")
        group.say(ada, "@hearth_bot hello")
        await server.wait_for(lambda: "You said: Ada: hello" in group.texts_of_bot(), "the answer")
        await h.settled()
    assert 1 <= group.texts_of_bot().count("There is nothing to stop.") <= 10
    times = [call.at for call in server.called("sendMessage") + server.called("editMessageText")]
    assert all(later - earlier >= 0.4 for earlier, later in zip(sorted(times)[3:], sorted(times)[4:], strict=False))
