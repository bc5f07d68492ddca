"""The Telegram stand-in answers an unpatched bot as the platform does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from telegram import (
    BotCommand,
    BotCommandScopeChat,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    MessageEntity,
    ReplyParameters,
)
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, TelegramError

from tests.telegram import TOKEN, serving
from tests.telegram.client import bot_on, refused, talking
from tests.telegram.platform import DOWNLOAD_LIMIT

HELP = InlineKeyboardMarkup([[InlineKeyboardButton("Help", callback_data="help")]])


async def test_a_text_is_sent_as_the_platform_shows_it() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        sent = await bot.send_message(ada.id, "<b>Hi</b> 😀 ", parse_mode="HTML", reply_markup=HELP)
        assert (sent.message_id, sent.text, sent.chat.id) == (1, "Hi 😀", ada.id)
        assert sent.from_user is not None
        assert sent.from_user.id == server.world.bot.id
        assert sent.entities == (MessageEntity("bold", 0, 2),)
        assert chat.texts_of_bot() == ["Hi 😀"]
        assert chat.from_bot[0].html == "<b>Hi</b> 😀"
        assert chat.from_bot[0].buttons == [{"text": "Help", "callback_data": "help"}]
        assert [(call.method, call.ok) for call in server.calls] == [("sendMessage", True)]


async def test_the_bot_reads_who_it_is() -> None:
    async with talking(privacy=False, topics=True) as (_, bot):
        me = await bot.get_me()
        assert (me.username, me.can_read_all_group_messages, me.has_topics_enabled) == ("hearth_bot", True, True)


async def test_a_wrong_token_is_not_authorized_and_a_malformed_one_is_not_found() -> None:
    async with serving() as server:
        async with bot_on(server, token=TOKEN[:-1] + "x") as stranger:
            with pytest.raises(InvalidToken):
                await stranger.get_me()
        async with aiohttp.ClientSession() as http, http.get(f"{server.base_url}nonsense/getMe") as response:
            assert await response.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


async def test_4096_utf16_units_are_a_message_and_one_more_is_not() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        await bot.send_message(chat.id, "😀" * 2048)
        await bot.send_message(chat.id, "<b>" + "a" * 4096 + "</b>", parse_mode="HTML")
        async with refused("Message is too long"):
            await bot.send_message(chat.id, "😀" * 2048 + "a")
        async with refused("Message text is empty"):
            await bot.send_message(chat.id, " <b> </b>\n", parse_mode="HTML")
        async with refused("Can't parse entities: unsupported start tag"):
            await bot.send_message(chat.id, "<h1>a</h1>", parse_mode="HTML")
        assert [len(message.text) for message in chat.messages] == [2048, 4096]


async def test_where_the_bot_can_not_write() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        async with refused("chat not found"):
            await bot.send_message(12345, "a")
        async with refused("bot can't initiate conversation with a user", Forbidden):
            await bot.send_message(ada.id, "a")
        chat = server.world.private(ada)
        chat.block()
        async with refused("bot was blocked by the user", Forbidden):
            await bot.send_message(ada.id, "a")
        chat.unblock()
        await bot.send_message(ada.id, "a")
        for group in (server.world.group("Club", ada), server.world.supergroup("Club", ada)):
            group.kick_bot(ada)
            async with refused(f"bot was kicked from the {group.type} chat", Forbidden):
                await bot.send_chat_action(group.id, "typing")
        muted = server.world.supergroup("Quiet", ada)
        muted.muted = True
        async with refused("not enough rights to send text messages to the chat"):
            await bot.send_message(muted.id, "a")


async def test_a_group_that_became_a_supergroup_says_where_it_is_now() -> None:
    async with talking(privacy=False) as (server, bot):
        ada = server.world.user("Ada")
        group = server.world.group("Club", ada)
        new = server.world.migrate(group, ada)
        with pytest.raises(ChatMigrated) as caught:
            await bot.send_message(group.id, "a")
        assert caught.value.new_chat_id == new.id
        await bot.send_message(new.id, "a")
        told = [update.message for update in await bot.get_updates()]
        assert [(m.chat.id, m.migrate_to_chat_id, m.migrate_from_chat_id) for m in told if m] == [
            (group.id, new.id, None),
            (new.id, None, group.id),
        ]


async def test_a_reply_needs_its_message_unless_it_may_do_without() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        asked = chat.say(ada, "hello there")
        sent = await bot.send_message(chat.id, "hi", reply_to_message_id=asked.id)
        assert sent.reply_to_message is not None
        assert sent.reply_to_message.text == "hello there"
        await bot.send_message(chat.id, "hi", reply_parameters=ReplyParameters(asked.id, quote="hello"))
        async with refused("QUOTE_TEXT_INVALID"):
            await bot.send_message(chat.id, "hi", reply_parameters=ReplyParameters(asked.id, quote="bye"))
        chat.delete(asked)
        async with refused("Message to be replied not found"):
            await bot.send_message(chat.id, "hi", reply_to_message_id=asked.id)
        loose = await bot.send_message(chat.id, "hi", reply_to_message_id=asked.id, allow_sending_without_reply=True)
        assert loose.reply_to_message is None


async def test_an_edit_must_change_something_and_be_of_a_message_of_the_bot() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        asked = chat.say(ada, "hello")
        sent = await bot.send_message(chat.id, "<b>a</b>", parse_mode="HTML", reply_markup=HELP)
        same: dict[str, Any] = {"chat_id": chat.id, "message_id": sent.message_id}
        async with refused("Message is not modified: specified new message content and reply markup are exactly"):
            await bot.edit_message_text("<b>a</b> ", parse_mode="HTML", reply_markup=HELP, **same)
        async with refused("Message is not modified"):
            await bot.edit_message_reply_markup(reply_markup=HELP, **same)
        edited = await bot.edit_message_text("a", reply_markup=HELP, **same)
        assert (edited.text, edited.edit_date is not None) == ("a", True)  # type: ignore[union-attr]
        await bot.edit_message_text("b", **same)
        assert chat.from_bot[0].buttons == []
        assert chat.from_bot[0].edits == ["a", "a", "b"]
        async with refused("Message is too long"):
            await bot.edit_message_text("a" * 4097, **same)
        async with refused("Message can't be edited"):
            await bot.edit_message_text("x", chat.id, asked.id)
        async with refused("Message to edit not found"):
            await bot.edit_message_text("x", chat.id, 99)


async def test_a_message_can_be_deleted_once_and_for_two_days() -> None:
    async with talking(privacy=False) as (server, bot):
        ada = server.world.user("Ada")
        chat, group = server.world.private(ada), server.world.supergroup("Club", ada)
        sent = await bot.send_message(chat.id, "a")
        await bot.delete_message(chat.id, sent.message_id)
        assert chat.messages == []
        async with refused("Message to delete not found"):
            await bot.delete_message(chat.id, sent.message_id)
        async with refused("Message can't be deleted"):
            await bot.delete_message(group.id, group.say(ada, "mine").id)
        old = await bot.send_message(chat.id, "a")
        server.world.scene.pass_(49 * 3600)
        async with refused("Message can't be deleted"):
            await bot.delete_message(chat.id, old.message_id)


async def test_buttons_hold_64_bytes() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        for data, good in (("é" * 32, True), ("é" * 32 + "a", False)):
            markup = InlineKeyboardMarkup([[InlineKeyboardButton("a", callback_data=data)]])
            if good:
                await bot.send_message(chat.id, "a", reply_markup=markup)
            else:
                async with refused("Button_data_invalid"):
                    await bot.send_message(chat.id, "a", reply_markup=markup)
        async with refused("Text buttons are unallowed in the inline keyboard"):
            await bot.send_message(chat.id, "a", reply_markup=InlineKeyboardMarkup([[InlineKeyboardButton("a")]]))


async def test_a_press_can_be_answered_for_a_while() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        await bot.send_message(chat.id, "a", reply_markup=HELP)
        pressed = chat.press(ada, chat.from_bot[0], "Help")
        [update] = await bot.get_updates()
        assert update.callback_query is not None
        assert (update.callback_query.data, update.callback_query.from_user.id) == ("help", ada.id)
        await update.callback_query.answer("Done")
        assert pressed.answer == {"text": "Done"}
        server.world.scene.pass_(400)
        async with refused("query is too old and response timeout expired or query ID is invalid"):
            await bot.answer_callback_query(pressed.id)
        async with refused("query is too old"):
            await bot.answer_callback_query("77")


async def test_a_draft_is_shown_for_half_a_minute_and_until_a_message_comes() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat, group = server.world.private(ada), server.world.supergroup("Club", ada)
        assert await bot.send_message_draft(chat.id, 5, "<i>Hel</i>", parse_mode="HTML")
        shown = chat.draft()
        assert shown is not None
        assert (shown.draft_id, shown.text, shown.content.html) == (5, "Hel", "<i>Hel</i>")
        server.world.scene.pass_(31)
        assert chat.draft() is None
        await bot.send_message_draft(chat.id, 5, "Hello")
        await bot.send_message(chat.id, "Hello!")
        assert chat.draft() is None
        assert [draft.text for draft in chat.drafts] == ["Hel", "Hello"]
        async with refused("Textdraft_peer_invalid"):
            await bot.send_message_draft(group.id, 5, "a")
        async with refused("draft_id must be non-zero"):
            await bot.send_message_draft(chat.id, 0, "a")
        async with refused("Message is too long"):
            await bot.send_message_draft(chat.id, 5, "a" * 4097)
        async with refused("Message thread not found"):
            await bot.send_message_draft(chat.id, 5, "a", message_thread_id=7)


async def test_a_topic_must_exist_and_the_general_one_has_no_number_but_for_chat_actions() -> None:
    async with talking(privacy=False, topics=True) as (server, bot):
        ada = server.world.user("Ada")
        forum, chat = server.world.supergroup("Club", ada, forum=True), server.world.private(ada)
        topic = forum.open_topic(ada, "News")
        sent = await bot.send_message(forum.id, "a", message_thread_id=topic.id)
        assert (sent.message_thread_id, sent.is_topic_message) == (topic.id, True)
        async with refused("Message thread not found"):
            await bot.send_message(forum.id, "a", message_thread_id=1)
        await bot.send_chat_action(forum.id, "typing", message_thread_id=1)
        forum.close_topic(topic)
        async with refused("Message thread not found"):
            await bot.send_message(forum.id, "a", message_thread_id=topic.id)
        own = chat.open_topic(ada, "Mine")
        assert (await bot.send_message(chat.id, "a", message_thread_id=own.id)).is_topic_message
        await bot.send_message_draft(chat.id, 1, "a", message_thread_id=own.id)
        assert chat.draft() is None
        assert chat.draft(own.id) is not None


async def test_commands_are_kept_by_scope_and_language() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        await bot.set_my_commands([BotCommand("help", "What I can do")])
        await bot.set_my_commands([BotCommand("new", "Begin anew")], scope=BotCommandScopeChat(chat.id))
        await bot.set_my_commands([BotCommand("hilfe", "Was ich kann")], language_code="de")
        assert [command.command for command in await bot.get_my_commands()] == ["help"]
        assert [c.command for c in await bot.get_my_commands(scope=BotCommandScopeChat(chat.id))] == ["new"]
        assert [c.command for c in await bot.get_my_commands(language_code="de")] == ["hilfe"]
        await bot.delete_my_commands()
        assert await bot.get_my_commands() == ()
        for command in (("Help", "a"), ("a" * 33, "a"), ("a-b", "a"), ("help", ""), ("help", "a" * 257)):
            with pytest.raises(BadRequest, match=r"(?i)bot_command_"):
                await bot.set_my_commands([command])


async def test_a_document_goes_out_with_its_name_and_caption() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        sent = await bot.send_document(
            chat.id, b"words", filename="answer.txt", caption="<b>all</b>", parse_mode="HTML"
        )
        assert sent.document is not None
        assert (sent.document.file_name, sent.document.file_size, sent.caption) == ("answer.txt", 5, "all")
        assert server.world.scene.files[sent.document.file_id].content == b"words"
        assert chat.from_bot[0].html == "<b>all</b>"
        again = await bot.send_document(chat.id, sent.document.file_id)
        assert again.document is not None
        async with refused("Message caption is too long"):
            await bot.send_document(chat.id, b"words", caption="a" * 1025)
        async with refused("file must be non-empty"):
            await bot.send_document(chat.id, b"")
        async with refused("There is no text in the message to edit"):
            await bot.edit_message_text("a", chat.id, sent.message_id)


async def test_files_can_be_downloaded_up_to_20_megabytes() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        chat.voice(ada, b"OggS...", duration=3)
        chat.document(ada, b"", file_name="big.bin", size=DOWNLOAD_LIMIT + 1)
        voice, big = [update.message for update in await bot.get_updates()]
        assert voice is not None
        assert big is not None
        assert voice.voice is not None
        assert voice.voice.duration == timedelta(seconds=3)
        file = await bot.get_file(voice.voice.file_id)
        assert bytes(await file.download_as_bytearray()) == b"OggS..."
        assert big.document is not None
        async with refused("File is too big"):
            await bot.get_file(big.document.file_id)
        async with refused("Invalid file_id"):
            await bot.get_file("nonsense")
        server.platform.download_limit = DOWNLOAD_LIMIT + 1
        await bot.get_file(big.document.file_id)


async def test_chats_and_members_can_be_asked_for() -> None:
    async with talking() as (server, bot):
        ada, bea = server.world.user("Ada"), server.world.user("Bea")
        chat, group = server.world.private(ada), server.world.supergroup("Club", ada, bea, username="club")
        assert (await bot.get_chat(chat.id)).first_name == "Ada"
        assert (await bot.get_chat("@club")).title == "Club"
        assert [member.user.id for member in await bot.get_chat_administrators(group.id)] == [ada.id]
        assert (await bot.get_chat_member(group.id, bea.id)).status == "member"
        assert (await bot.get_chat_member(group.id, server.world.bot.id)).status == "member"
        assert await bot.get_chat_member_count(group.id) == 3
        await bot.leave_chat(group.id)
        async with refused("bot is not a member of the supergroup chat", Forbidden):
            await bot.send_message(group.id, "a")


async def test_the_bot_can_react_and_describe_itself() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        asked = chat.say(ada, "hello")
        await bot.set_message_reaction(chat.id, asked.id, "👀")
        assert asked.reactions == ["👀"]
        await bot.set_my_description("I answer.")
        assert (await bot.get_my_description()).description == "I answer."


async def test_what_no_correct_client_sends_is_kept_and_fails_the_test() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        with pytest.raises(TelegramError, match="There is no parameter loud"):
            await bot.send_message(chat.id, "a", api_kwargs={"loud": True})
        with pytest.raises(TelegramError, match="is not implemented by the fake"):
            await bot.send_dice(chat.id)
        with pytest.raises(TelegramError, match="the endpoint 'sendEverything' does not exist"):
            await bot.do_api_request("sendEverything")
        with pytest.raises(AssertionError, match="there is no parameter loud"):
            server.check()
        for words in ("loud", "sendDice", "sendEverything"):
            server.expect_violation(words)
        with pytest.raises(AssertionError, match="no violation"):
            server.expect_violation("loud")


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        headers = {"Content-Type": "application/json"}
        async with http.post(f"{server.base_url}{TOKEN}/getMe", data=b"{", headers=headers) as response:
            assert (response.status, (await response.json())["description"][:11]) == (400, "Bad Request")
        server.expect_violation("the body is no JSON")


async def test_a_violation_that_nobody_expected_fails_at_the_end() -> None:
    with pytest.raises(AssertionError, match="sendDice"):
        async with talking() as (_, bot):
            with pytest.raises(TelegramError):
                await bot.send_dice(1)
