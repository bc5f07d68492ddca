"""A whole Hearth on Telegram: what people write there, and what they see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.messages import Role
from bot.testing import ScriptedEngine
from tests.telegram import Chat, TelegramServer, User, serving
from tests.telegram_house import TelegramHouse, telegram_house

LONG = "".join(f"Line {number} of a long answer, with some more words in it.\n\n" for number in range(300))


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False, topics=True) as running:
        yield running


@pytest.fixture
async def h(tmp_path: Path, server: TelegramServer) -> AsyncIterator[TelegramHouse]:
    async with telegram_house(tmp_path, server) as house:
        yield house


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def bea(server: TelegramServer) -> User:
    return server.world.user("Bea")


@pytest.fixture
def private(server: TelegramServer, ada: User) -> Chat:
    return server.world.private(ada)


@pytest.fixture
def group(server: TelegramServer, ada: User, bea: User) -> Chat:
    return server.world.supergroup("Friends", ada, bea)


# Private chats


async def test_an_answer_is_drafted_and_then_sent_once(h: TelegramHouse, private: Chat, ada: User) -> None:
    question = private.say(ada, "tell me something")
    await h.answered(private, "You said: tell me something")
    assert private.drafts
    assert {draft.draft_id for draft in private.drafts} == {question.id}
    (answer,) = private.from_bot
    assert answer.edits == ["You said: tell me something"]
    assert answer.reply_to is None
    assert [button["text"] for button in answer.buttons] == ["Retry"]


async def test_while_the_model_thinks_the_bot_types(h: TelegramHouse, private: Chat, ada: User) -> None:
    h.engine.stall_in_prefill = True
    private.say(ada, "tell me something")
    await h.server.wait_for(lambda: private.actions, "the typing sign")
    h.engine.resume.set()
    await h.answered(private, "You said: tell me something")
    assert [activity.action for activity in private.actions][:1] == ["typing"]


async def test_the_model_knows_what_was_said_before(h: TelegramHouse, private: Chat, ada: User) -> None:
    private.say(ada, "I am Ada")
    await h.answered(private, "You said: I am Ada")
    private.say(ada, "who am I?")
    await h.answered(private, "You said: I am Ada", "You said: who am I?")
    assert "I am Ada<|im_end|>" in h.prompts()[-1]


async def test_where_drafts_are_refused_an_answer_is_edited(h: TelegramHouse, private: Chat, ada: User) -> None:
    h.server.fail("sendMessageDraft", "refuse", description="Bad Request: TEXTDRAFT_PEER_INVALID")
    h.engine.stall_after = 5
    private.say(ada, "tell me something")
    await h.server.wait_for(lambda: private.texts_of_bot() == ["You s"], "the placeholder")
    assert [button["text"] for button in private.from_bot[0].buttons] == ["Stop"]
    h.engine.resume.set()
    await h.answered(private, "You said: tell me something")
    assert len(private.from_bot) == 1


async def test_markdown_is_shown(tmp_path: Path, server: TelegramServer, private: Chat, ada: User) -> None:
    said = "**Bold**, `code`, [a link](https://example.org) & <b>\n\n```python\nprint(1 < 2)\n```"
    async with telegram_house(tmp_path, server, engine=ScriptedEngine(lambda _: said)) as h:
        private.say(ada, "show me")
        await h.settled()
        await server.wait_for(lambda: private.from_bot, "the answer")
        assert private.from_bot[0].html == (
            '<b>Bold</b>, <code>code</code>, <a href="https://example.org/">a link</a> &amp; &lt;b&gt;\n\n'
            '<pre><code class="language-python">print(1 &lt; 2)</code></pre>'
        )


async def test_a_long_answer_arrives_whole(tmp_path: Path, server: TelegramServer, private: Chat, ada: User) -> None:
    engine = ScriptedEngine(lambda _: LONG, context_length=100_000)
    async with telegram_house(tmp_path, server, engine=engine, chat={"max_tokens": 20_000}) as h:
        private.say(ada, "tell me everything")
        await h.settled()
        await server.wait_for(lambda: private.from_bot and "Line 299" in private.texts_of_bot()[-1], "the end")
        lines = [line for text in private.texts_of_bot() for line in text.splitlines() if line.strip()]
        assert lines == [line for line in LONG.splitlines() if line.strip()]
        assert len(private.from_bot) == 5


async def test_a_topic_in_a_private_chat_is_a_conversation(h: TelegramHouse, private: Chat, ada: User) -> None:
    topic = private.open_topic(ada, "Cooking")
    private.say(ada, "hello", topic=topic)
    await h.answered(private, "You said: hello")
    assert private.from_bot[0].thread == topic.id
    private.say(ada, "and here?")
    await h.answered(private, "You said: hello", "You said: and here?")
    assert private.from_bot[1].thread is None
    assert "hello" not in h.prompts()[-1]


async def test_an_answer_to_a_topic_that_was_deleted_comes_to_the_chat(
    h: TelegramHouse, private: Chat, ada: User
) -> None:
    topic = private.open_topic(ada, "Cooking")
    h.engine.stall_after = 5
    private.say(ada, "hello", topic=topic)
    await h.server.wait_for(lambda: h.engine.active == 1, "the question")
    private.close_topic(topic)
    h.engine.resume.set()
    await h.settled()
    assert [message.text for message in private.from_bot] == ["You said: hello"]


# Groups


async def test_in_a_group_the_answer_is_a_reply_and_edited(h: TelegramHouse, group: Chat, ada: User, bea: User) -> None:
    group.say(bea, "nice weather")
    h.engine.stall_after = 5
    question = group.say(ada, "@hearth_bot is it?")
    await h.server.wait_for(lambda: group.texts_of_bot() == ["You s"], "the placeholder")
    h.engine.resume.set()
    await h.answered(group, "You said: Ada: is it?")
    (answer,) = group.from_bot
    assert answer.reply_to == question.id
    assert "You s" in answer.edits
    assert not group.drafts
    assert "nice weather" not in h.prompts()[0]  # group talk is not kept, unless that is configured


async def test_a_question_that_was_deleted_meanwhile_is_answered_all_the_same(
    h: TelegramHouse, group: Chat, ada: User
) -> None:
    """Telegram tells bots of no deletions."""
    h.engine.stall_after = 0
    question = group.say(ada, "@hearth_bot tell me")
    await h.server.wait_for(lambda: h.engine.active == 1, "the question")
    group.delete(question)
    h.engine.resume.set()
    await h.answered(group, "You said: Ada: tell me")
    assert group.from_bot[0].reply_to is None


async def test_a_reply_to_an_older_answer_goes_on_from_there(
    h: TelegramHouse, group: Chat, ada: User, bea: User
) -> None:
    group.say(ada, "@hearth_bot one")
    await h.answered(group, "You said: Ada: one")
    first = group.from_bot[0]
    group.say(ada, "@hearth_bot two")
    await h.answered(group, "You said: Ada: one", "You said: Ada: two")
    group.say(bea, "three", reply_to=first)
    await h.answered(group, "You said: Ada: one", "You said: Ada: two", "You said: Bea: three")
    assert "Ada: one<|im_end|>" in h.prompts()[-1]
    assert "Ada: two" not in h.prompts()[-1]


async def test_topics_do_not_know_each_other(h: TelegramHouse, server: TelegramServer, ada: User) -> None:
    forum = server.world.supergroup("Forum", ada, forum=True)
    cooking, sailing = forum.open_topic(ada, "Cooking"), forum.open_topic(ada, "Sailing")
    forum.say(ada, "@hearth_bot soup", topic=cooking)
    await h.answered(forum, "You said: Ada: soup")
    forum.say(ada, "@hearth_bot wind", topic=sailing)
    await h.answered(forum, "You said: Ada: soup", "You said: Ada: wind")
    assert [message.thread for message in forum.from_bot] == [cooking.id, sailing.id]
    assert "soup" not in h.prompts()[-1]


async def test_a_group_that_becomes_a_supergroup_keeps_its_history(
    h: TelegramHouse, server: TelegramServer, ada: User
) -> None:
    family = server.world.group("Family", ada)
    family.say(ada, "@hearth_bot I am Ada")
    await h.answered(family, "You said: Ada: I am Ada")
    new = server.world.migrate(family, ada)
    new.say(ada, "@hearth_bot who am I?")
    await h.answered(new, "You said: Ada: who am I?")
    assert "I am Ada<|im_end|>" in h.prompts()[-1]


async def test_an_answer_on_its_way_follows_a_group_that_moves(
    h: TelegramHouse, server: TelegramServer, ada: User
) -> None:
    family = server.world.group("Family", ada)
    h.engine.stall_after = 0
    family.say(ada, "@hearth_bot hello")
    await server.wait_for(lambda: h.engine.active == 1, "the question")
    new = server.world.migrate(family, ada)
    h.engine.resume.set()
    await h.answered(new, "You said: Ada: hello")


# Buttons, commands, changes


async def test_stop_and_retry(h: TelegramHouse, group: Chat, ada: User) -> None:
    h.engine.stall_after = 5
    group.say(ada, "@hearth_bot tell me")
    await h.server.wait_for(lambda: group.texts_of_bot() == ["You s"], "the placeholder")
    group.press(ada, group.from_bot[0], "Stop")
    await h.settled()
    await h.server.wait_for(lambda: [b["text"] for b in group.from_bot[0].buttons] == ["Retry"], "the stop")
    assert group.texts_of_bot() == ["You s"]
    h.engine.stall_after = None
    group.press(ada, group.from_bot[0], "Retry")
    await h.answered(group, "You s", "You said: Ada: tell me")


async def test_the_talk_goes_on_from_another_answer(h: TelegramHouse, group: Chat, ada: User) -> None:
    group.say(ada, "@hearth_bot tell me")
    await h.answered(group, "You said: Ada: tell me")
    group.press(ada, group.from_bot[0], "Retry")
    await h.answered(group, "You said: Ada: tell me", "You said: Ada: tell me")
    assert [[b["text"] for b in sent.buttons] for sent in group.from_bot] == [["Retry"], ["Retry", "Other answer"]]
    group.press(ada, group.from_bot[1], "Other answer")
    said = "The conversation goes on from this answer: You said: Ada: tell me"
    await h.answered(group, "You said: Ada: tell me", "You said: Ada: tell me", said)


async def test_commands_in_a_reply_are_about_that_message(h: TelegramHouse, private: Chat, ada: User) -> None:
    said = [f"You said: {text}" for text in ("one", "two")]
    private.say(ada, "one")
    await h.answered(private, said[0])
    private.say(ada, "two")
    await h.answered(private, *said)
    private.say(ada, "/summarise", reply_to=private.from_bot[0])
    await h.settled()
    assert "one" in h.prompts()[-1]
    assert "two" not in h.prompts()[-1]
    private.say(ada, "/continue", reply_to=private.from_bot[0])
    await h.settled()
    assert private.texts_of_bot()[-1] == "The conversation goes on from here: You said: one"
    private.say(ada, "three")
    await h.settled()
    assert "two" not in h.prompts()[-1]
    assert "Summarise" not in h.prompts()[-1]


async def test_only_who_asked_asks_again(h: TelegramHouse, group: Chat, ada: User, bea: User) -> None:
    """It counts as theirs."""
    group.say(ada, "@hearth_bot tell me")
    await h.answered(group, "You said: Ada: tell me")
    group.press(bea, group.from_bot[0], "Retry")
    await h.settled()
    assert len(h.prompts()) == 1
    group.press(ada, group.from_bot[0], "Retry")
    await h.answered(group, "You said: Ada: tell me", "You said: Ada: tell me")


async def test_what_was_written_during_an_outage_is_not_too_much_at_once(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    for number in range(6):
        private.say(ada, f"question {number}")
        server.world.scene.pass_(30)
    async with telegram_house(tmp_path, server, permissions={"messages_per_minute": 2}) as h:
        await h.answered(private, *(f"You said: question {number}" for number in range(6)))


async def test_an_edited_question_is_answered_anew_in_place(h: TelegramHouse, private: Chat, ada: User) -> None:
    question = private.say(ada, "helo")
    await h.answered(private, "You said: helo")
    private.edit(question, "hello")
    await h.answered(private, "You said: hello")
    assert private.from_bot[0].edits[0] == "You said: helo"
    assert private.from_bot[0].edits[-1] == "You said: hello"
    private.edit(question)  # a link preview came, or somebody reacted
    private.say(ada, "again")
    await h.answered(private, "You said: hello", "You said: again")


async def test_commands_by_name_and_their_menus(h: TelegramHouse, group: Chat, ada: User) -> None:
    group.say(ada, "/help@hearth_bot")
    await h.settled()
    await h.server.wait_for(lambda: group.from_bot, "the help")
    assert "/new - starts a new conversation" in group.texts_of_bot()[0]
    menus = {
        (call.given["scope"]["type"], call.given.get("language_code", "")): [
            command["command"] for command in call.given["commands"]
        ]
        for call in h.server.called("setMyCommands")
    }
    assert {"new", "help", "usage", "forgetme"} <= set(menus["all_private_chats", ""])
    assert {"new", "help"} <= set(menus["all_group_chats", ""])


async def test_everything_of_a_person_comes_as_a_file(h: TelegramHouse, private: Chat, ada: User) -> None:
    private.say(ada, "hello")
    await h.answered(private, "You said: hello")
    private.say(ada, "/export")
    await h.settled()
    await h.server.wait_for(lambda: len(private.from_bot) == 2, "the file")
    sent = private.from_bot[1]
    assert sent.json["document"]["file_name"] == "hearth-export.json"
    assert sent.text == "This is everything that I have of you."


async def test_forget_in_reply_to_a_message_removes_it(h: TelegramHouse, private: Chat, ada: User) -> None:
    question = private.say(ada, "I like tea")
    await h.answered(private, "You said: I like tea")
    private.say(ada, "/forget", reply_to=question)
    await h.answered(private, "You said: I like tea", "Forgotten: 2 messages.")
    private.say(ada, "what do I like?")
    await h.settled()
    await h.server.wait_for(lambda: len(private.from_bot) == 3, "the answer")
    assert "tea" not in h.prompts()[-1]


async def test_settings_by_buttons(h: TelegramHouse, private: Chat, ada: User) -> None:
    private.say(ada, "/settings")
    await h.server.wait_for(lambda: private.from_bot, "the settings")
    await h.settled()
    message = private.from_bot[0]
    assert [button["callback_data"] for button in message.buttons][-1] == "choose:close"
    private.press(ada, message, "choose:keep")
    await h.server.wait_for(lambda: "choose:keep:7" in [b["callback_data"] for b in message.buttons], "the days")
    private.press(ada, message, "choose:keep:7")
    await h.server.wait_for(lambda: len(message.edits) == 3, "the change")
    conversation = await h.app.store.conversation(h.key(private))
    assert conversation.settings.retention_days == 7


# Files


async def test_a_document_is_read(h: TelegramHouse, private: Chat, ada: User) -> None:
    private.document(ada, b"Buy a lantern.", file_name="notes.txt", mime="text/plain", caption="what?")
    await h.server.wait_for(lambda: private.from_bot, "the answer")
    await h.settled()
    assert "what?\n\nFile notes.txt:\nBuy a lantern." in h.prompts()[0]


async def test_a_file_beyond_what_telegram_gives_is_told_with_the_limit(
    tmp_path: Path, server: TelegramServer, private: Chat, ada: User
) -> None:
    limits = {"max_document_bytes": 30 * 2**20}
    async with telegram_house(tmp_path, server, chat=limits) as h:
        private.document(ada, b"x", file_name="big.txt", mime="text/plain", size=21 * 2**20, caption="what?")
        await server.wait_for(lambda: private.from_bot, "the answer")
        await h.settled()
        assert "big.txt: not read, larger than" in private.texts_of_bot()[0]


@pytest.mark.parametrize("kind", ["photo", "sticker"])
async def test_a_picture_gets_a_truthful_word_and_is_not_stored(
    h: TelegramHouse, private: Chat, ada: User, kind: str
) -> None:
    if kind == "photo":
        private.photo(ada, b"jpeg")
    else:
        private.sticker(ada)
    await h.answered(private, "I cannot read this: pictures are not understood yet.")
    private.say(ada, "hello")
    await h.settled()
    conversation = await h.app.store.conversation(h.key(private))
    line = [(message.role, message.text) for message in await h.app.store.history(conversation.head)]
    assert line == [(Role.USER, "hello"), (Role.ASSISTANT, "You said: hello")]


# Everybody at once


async def test_twenty_chats_are_answered_each_in_its_order(h: TelegramHouse, server: TelegramServer) -> None:
    people = [server.world.user(f"P{number}") for number in range(20)]
    for round_ in range(3):
        for person in people:
            server.world.private(person).say(person, f"{person.first_name} {round_}")
    for person in people:
        await h.answered(
            server.world.private(person), *(f"You said: {person.first_name} {round_}" for round_ in range(3))
        )
