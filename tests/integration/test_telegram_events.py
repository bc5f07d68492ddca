"""What Telegram tells the bot, as events: who wrote what where, whether the bot is meant, and what is of no concern."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.telegram.adapter import Telegram
from bot import commands
from bot.messages import (
    Action,
    ActionName,
    Button,
    ConversationKey,
    Destination,
    Edited,
    Event,
    Left,
    Message,
    Migrated,
    Outgoing,
)
from tests.telegram import Chat, TelegramServer, User, serving
from tests.telegram_house import telegram_config

STOP, RETRY = Button("stop:7", "Stop"), Button("retry:7", "Retry")


@dataclass
class Ears:
    """An adapter that listens, and what it heard."""

    server: TelegramServer
    adapter: Telegram
    events: list[Event] = field(default_factory=list)

    async def all(self) -> list[Event]:
        """Everything, once Telegram has nothing left that was not acknowledged."""
        await self.server.wait_for(lambda: not self.server.queue.pending, "the last acknowledgement")
        return self.events

    async def one(self) -> Message:
        """The only message that was heard."""
        (event,) = await self.all()
        assert isinstance(event, Message)
        return event

    async def receive(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False, topics=True) as running:
        yield running


@pytest.fixture
async def ears(server: TelegramServer, tmp_path: Path) -> AsyncIterator[Ears]:
    made = Ears(server, Telegram(telegram_config(tmp_path, server).telegram))
    await made.adapter.publish(commands.menu())
    task = asyncio.create_task(made.adapter.listen(made.receive))
    yield made
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada", last_name="Lovelace")


@pytest.fixture
def bea(server: TelegramServer) -> User:
    return server.world.user("Bea")


@pytest.fixture
def private(server: TelegramServer, ada: User) -> Chat:
    return server.world.private(ada)


@pytest.fixture
def group(server: TelegramServer, ada: User, bea: User) -> Chat:
    return server.world.supergroup("Friends", ada, bea)


def key(server: TelegramServer, chat: Chat, thread: int | None = None) -> ConversationKey:
    return ConversationKey("telegram", str(server.world.bot.id), str(chat.id), str(thread or ""))


# Who, what and where


async def test_a_message_in_a_private_chat(ears: Ears, private: Chat, ada: User) -> None:
    sent = private.say(ada, "hello")
    heard = await ears.one()
    assert (heard.key, heard.event_id, heard.text) == (key(ears.server, private), str(sent.id), "hello")
    assert (heard.author.id, heard.author.name, heard.author.is_bot) == (str(ada.id), "Ada Lovelace", False)
    assert heard.direct
    assert heard.sent_at.utcoffset() is not None
    assert (heard.reply_to, heard.attachments, heard.revision) == (None, (), 0)


async def test_a_topic_is_a_conversation_of_its_own(ears: Ears, server: TelegramServer, ada: User) -> None:
    forum = server.world.supergroup("Forum", ada, forum=True)
    topic = forum.open_topic(ada, "Cooking")
    forum.say(ada, "@hearth_bot what is a roux?", topic=topic)
    forum.say(ada, "@hearth_bot and here?")
    first, second = [event for event in await ears.all() if isinstance(event, Message)]
    assert first.key == key(server, forum, topic.id)
    assert first.reply_to is None  # in a topic everything replies to its beginning
    assert second.key == key(server, forum)


async def test_the_thread_of_a_reply_in_a_group_without_topics_is_none(ears: Ears, group: Chat, bea: User) -> None:
    first = group.say(bea, "I will be late")
    group.say(bea, "@hearth_bot why?", reply_to=first)
    assert {event.key for event in await ears.all()} == {key(ears.server, group)}


async def test_a_topic_in_a_private_chat(ears: Ears, private: Chat, ada: User) -> None:
    topic = private.open_topic(ada, "Cooking")
    private.say(ada, "hello", topic=topic)
    assert (await ears.one()).key == key(ears.server, private, topic.id)


async def test_an_anonymous_admin_writes_as_the_group_and_nobody_knows_who_writes_as_a_channel(
    ears: Ears, server: TelegramServer, group: Chat, ada: User
) -> None:
    channel = server.world.channel("News", ada)
    group.say_as_admin("@hearth_bot hello")
    group.say_as_channel(channel, "@hearth_bot hello")
    first, second = await ears.all()
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.author.id, first.author.name, first.author.is_bot) == (str(group.id), "Friends", False)
    assert (second.author.id, second.author.name, second.author.is_bot) == (str(channel.id), "News", True)


async def test_what_service_messages_tell_is_nobodys_word(
    ears: Ears, server: TelegramServer, group: Chat, ada: User
) -> None:
    group.rename(ada, "Best friends")
    group.join(server.world.user("Cay"))
    assert await ears.all() == []


# Is the bot meant?


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@hearth_bot what is up?", "what is up?"),
        ("@HEARTH_BOT, what is up?", "what is up?"),
        ("what is up, @hearth_bot?", "what is up?"),
        ("🙂 ask @hearth_bot about it", "🙂 ask @hearth_bot about it"),
        ("🙂 @hearth_botanist says hello, @hearth_bot", "🙂 @hearth_botanist says hello"),
        ("@hearth_bot", ""),
    ],
)
async def test_a_mention_means_the_bot_and_is_no_part_of_the_words(
    ears: Ears, group: Chat, ada: User, text: str, said: str
) -> None:
    group.say(ada, text)
    heard = await ears.one()
    assert heard.addressed
    assert not heard.direct
    assert heard.text == said


async def test_talk_of_others_does_not_mean_the_bot(ears: Ears, server: TelegramServer, group: Chat, ada: User) -> None:
    server.world.user("Cay", username="hearth_bot_fan")
    group.say(ada, "@hearth_bot_fan hello")
    assert not (await ears.one()).addressed


async def test_a_mention_in_a_caption_counts(ears: Ears, group: Chat, ada: User) -> None:
    group.document(ada, b"Buy a lantern.", file_name="notes.txt", mime="text/plain", caption="@hearth_bot what is it?")
    heard = await ears.one()
    assert heard.addressed
    assert heard.text == "what is it?"


async def test_a_reply_to_the_bot_means_it(ears: Ears, group: Chat, ada: User) -> None:
    sent = await ears.adapter.send(Destination(key=key(ears.server, group)), Outgoing(text="You are welcome."))
    group.say(ada, "why?", reply_to=group.from_bot[0])
    heard = await ears.one()
    assert heard.addressed
    assert (heard.reply_to, heard.text) == (str(sent.message_id), "why?")


@pytest.mark.parametrize(("text", "meant"), [("/new", True), ("/new@hearth_bot", True), ("/roll", False)])
async def test_its_own_commands_mean_it(ears: Ears, group: Chat, ada: User, text: str, meant: bool) -> None:
    group.say(ada, text)
    assert (await ears.one()).addressed is meant


async def test_another_bots_command_is_not_heard(ears: Ears, group: Chat, ada: User) -> None:
    """Not even as talk: `/forgetme@other_bot` must never be this bot's command."""
    group.say(ada, "/forgetme@other_bot")
    assert await ears.all() == []


# What it refers to


async def test_anothers_message_that_is_replied_to_is_quoted(ears: Ears, group: Chat, ada: User, bea: User) -> None:
    first = group.say(bea, "I will be late.\nSorry!")
    group.say(ada, "@hearth_bot what does she mean?", reply_to=first)
    heard = (await ears.all())[-1]
    assert isinstance(heard, Message)
    assert heard.text == "> Bea: I will be late.\n> Sorry!\n\nwhat does she mean?"
    assert heard.reply_to == str(first.id)


async def test_ones_own_words_are_not_quoted_where_the_history_has_them(ears: Ears, private: Chat, ada: User) -> None:
    first = private.say(ada, "I will be late")
    private.say(ada, "is that bad?", reply_to=first)
    heard = (await ears.all())[-1]
    assert isinstance(heard, Message)
    assert (heard.text, heard.reply_to) == ("is that bad?", str(first.id))


async def test_a_quote_is_what_the_person_has_marked(ears: Ears, group: Chat, ada: User) -> None:
    await ears.adapter.send(Destination(key=key(ears.server, group)), Outgoing(text="The moon is rock, not of cheese."))
    group.say(ada, "why?", reply_to=group.from_bot[0], quote="not of cheese")
    assert (await ears.one()).text == "> not of cheese\n\nwhy?"


async def test_a_command_in_a_reply_is_a_command(ears: Ears, group: Chat, ada: User, bea: User) -> None:
    first = group.say(bea, "Hello")
    group.say(ada, "/forget", reply_to=first)
    heard = (await ears.all())[-1]
    assert isinstance(heard, Message)
    assert (heard.text, heard.reply_to) == ("/forget", str(first.id))


async def test_anothers_recording_can_be_asked_about(ears: Ears, group: Chat, ada: User, bea: User) -> None:
    spoken = group.voice(bea, b"OggS", duration=3)
    group.say(ada, "@hearth_bot what does she say?", reply_to=spoken)
    heard = (await ears.all())[-1]
    assert isinstance(heard, Message)
    assert [(item.kind, item.duration) for item in heard.attachments] == [("voice", 3.0)]


@pytest.mark.parametrize("command", ["/transcribe", "/transcribe@hearth_bot", "/Transcribe please"])
async def test_a_command_brings_anothers_recording(ears: Ears, group: Chat, ada: User, bea: User, command: str) -> None:
    spoken = group.voice(bea, b"OggS", duration=3)
    group.say(ada, command, reply_to=spoken)
    heard = (await ears.all())[-1]
    assert isinstance(heard, Message)
    assert (heard.text, heard.reply_to, heard.addressed) == (command, str(spoken.id), True)
    assert [(item.kind, item.duration) for item in heard.attachments] == [("voice", 3.0)]


async def test_no_other_command_does(ears: Ears, group: Chat, ada: User, bea: User) -> None:
    spoken = group.voice(bea, b"OggS", duration=3)
    group.say(ada, "/forget", reply_to=spoken)
    heard = (await ears.all())[-1]
    assert isinstance(heard, Message)
    assert (heard.text, heard.attachments) == ("/forget", ())


# Files


async def test_recordings_and_documents(ears: Ears, private: Chat, ada: User) -> None:
    private.voice(ada, b"OggS", duration=3, caption="listen")
    private.audio(ada, b"ID3", duration=200, file_name="song.mp3")
    private.video_note(ada, b"mp4", duration=7)
    private.document(ada, b"Buy a lantern.", file_name="notes.txt", mime="text/plain")
    voice, audio, video, document = [event for event in await ears.all() if isinstance(event, Message)]
    assert voice.text == "listen"
    described = [
        (item.kind, item.name, item.media_type, item.size, item.duration)
        for message in (voice, audio, video, document)
        for item in message.attachments
    ]
    assert described == [
        ("voice", "", "audio/ogg", 4, 3.0),
        ("audio", "song.mp3", "audio/mpeg", 3, 200.0),
        ("voice", "", "video/mp4", 3, 7.0),
        ("file", "notes.txt", "text/plain", 14, None),
    ]
    assert await ears.adapter.fetch(document.attachments[0]) == b"Buy a lantern."


async def test_pictures_are_pictures(ears: Ears, private: Chat, ada: User) -> None:
    private.photo(ada, b"jpeg")
    private.sticker(ada)
    assert [event.attachments[0].kind for event in await ears.all() if isinstance(event, Message)] == ["image"] * 2


async def test_of_an_album_that_is_not_understood_one_word_is_said(ears: Ears, private: Chat, ada: User) -> None:
    for number in range(5):
        private.photo(ada, b"jpeg", extra={"media_group_id": "7"}, caption="look" if number == 3 else "")
    private.photo(ada, b"jpeg", extra={"media_group_id": "8"})
    heard = [event for event in await ears.all() if isinstance(event, Message)]
    assert [event.text for event in heard] == ["", "look", ""]


async def test_what_the_library_does_not_know_yet_is_a_message_without_words(
    ears: Ears, private: Chat, ada: User
) -> None:
    private.post(ada, {"rich_message": {"blocks": []}})
    assert (await ears.one()).text == ""


# Changes


async def test_an_edit(ears: Ears, private: Chat, ada: User) -> None:
    sent = private.say(ada, "helo")
    private.edit(sent, "hello")
    private.edit(sent, "hello!")
    _, one, two = await ears.all()
    assert isinstance(one, Edited)
    assert isinstance(two, Edited)
    assert (one.event_id, one.text, two.text) == (str(sent.id), "hello", "hello!")
    assert 0 < one.revision < two.revision  # although both may be of the same second


async def test_an_edit_that_calls_the_bot_is_a_message_to_it(ears: Ears, group: Chat, ada: User) -> None:
    sent = group.say(ada, "what is up?")
    group.edit(sent, "@hearth_bot what is up?")
    _, edited = await ears.all()
    assert isinstance(edited, Message)
    assert edited.addressed
    assert edited.revision > 0
    assert edited.event_id == str(sent.id)


async def test_a_group_that_becomes_a_supergroup(ears: Ears, server: TelegramServer, ada: User) -> None:
    group = server.world.group("Family", ada)
    new = server.world.migrate(group, ada)
    one, two = await ears.all()
    assert isinstance(one, Migrated)
    assert isinstance(two, Migrated)
    assert (one.key, one.new_chat) == (key(server, group), str(new.id))
    assert (one.key, one.event_id, one.new_chat) == (two.key, two.event_id, two.new_chat)  # the store knows the second


async def test_a_blocked_bot_and_one_that_is_thrown_out_have_left(
    ears: Ears, private: Chat, group: Chat, ada: User
) -> None:
    private.block()
    group.kick_bot(ada)
    left = await ears.all()
    assert [type(event) for event in left] == [Left, Left]
    assert [event.key for event in left] == [key(ears.server, private), key(ears.server, group)]


async def test_to_come_or_to_be_promoted_is_no_event(
    ears: Ears, server: TelegramServer, group: Chat, ada: User
) -> None:
    group.promote_bot(ada)
    server.world.supergroup("Others", ada).add_bot(ada)
    assert await ears.all() == []


# Presses


async def test_a_press_is_acknowledged_once_it_is_committed(ears: Ears, private: Chat, ada: User) -> None:
    await ears.adapter.send(Destination(key=key(ears.server, private)), Outgoing(text="Well", buttons=(STOP,)))
    message = private.from_bot[0]
    query = private.press(ada, message, "Stop")
    (action,) = await ears.all()
    assert isinstance(action, Action)
    assert (action.name, action.target, action.key) == (ActionName.STOP, str(message.id), key(ears.server, private))
    assert action.author.id == str(ada.id)
    await ears.server.wait_for(lambda: ears.server.called("answerCallbackQuery"), "the acknowledgement")
    assert ears.server.called("answerCallbackQuery")[0].given["callback_query_id"] == query.id


async def test_a_press_that_means_nothing_any_more_is_acknowledged_too(ears: Ears, private: Chat, ada: User) -> None:
    await ears.adapter.send(Destination(key=key(ears.server, private)), Outgoing(text="Well"))
    private.press(ada, private.from_bot[0], "no-such-thing", forged=True)
    assert await ears.all() == []
    await ears.server.wait_for(lambda: ears.server.called("answerCallbackQuery"), "the acknowledgement")


async def test_a_press_under_a_message_that_cannot_be_read_any_more(ears: Ears, private: Chat, ada: User) -> None:
    await ears.adapter.send(Destination(key=key(ears.server, private)), Outgoing(text="Well", buttons=(RETRY,)))
    private.press(ada, private.from_bot[0], "Retry", readable=False)
    (action,) = await ears.all()
    assert isinstance(action, Action)
    assert (action.name, action.target) == (ActionName.RETRY, str(private.from_bot[0].id))


async def test_a_press_of_which_nobody_knows_the_topic_is_none(ears: Ears, server: TelegramServer, ada: User) -> None:
    """It would take effect in another conversation."""
    forum = server.world.supergroup("Forum", ada, forum=True)
    topic = forum.open_topic(ada, "Cooking")
    await ears.adapter.send(Destination(key=key(server, forum, topic.id)), Outgoing(text="Well", buttons=(RETRY,)))
    forum.press(ada, forum.from_bot[0], "Retry", readable=False)
    assert await ears.all() == []
    forum.press(ada, forum.from_bot[0], "Retry")
    (action,) = await ears.all()
    assert action.key == key(server, forum, topic.id)


# Strangers' kinds


async def test_kinds_of_updates_that_are_of_no_concern_are_refused(
    ears: Ears, server: TelegramServer, group: Chat, ada: User
) -> None:
    """A channel's post, a guest's and a business account's message are not written to this bot, whatever they say."""
    channel = server.world.channel("News", ada, group)
    server.world.strange_message("guest_message", ada, "@hearth_bot hello")
    server.world.strange_message("business_message", ada, "@hearth_bot hello")
    server.world.inline_query(ada, "hello")
    server.world.poll("Tea?")
    server.world.channel("Else", ada).publish("@hearth_bot hello")
    assert await ears.all() == []
    channel.publish("news")
    heard = await ears.one()  # the discussion group is told, where the channel has said it
    assert not heard.addressed
    assert heard.author.id == str(channel.id)
