"""What people do in the Telegram stand-in is what an unpatched bot is told of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from telegram import Bot, Message, Update

from tests.telegram import TelegramServer
from tests.telegram.client import talking


async def messages(bot: Bot) -> list[Message]:
    """What came since the last look."""
    updates = await bot.get_updates()
    if updates:
        await bot.get_updates(offset=updates[-1].update_id + 1)
    return [update.effective_message for update in updates if update.effective_message]


def kinds(server: TelegramServer) -> list[str]:
    return [next(key for key in update if key != "update_id") for update in server.queue.pending]


async def test_text_comes_with_its_entities_in_utf16_units() -> None:
    async with talking() as (server, bot):
        ada, bob = server.world.user("Ada", username="ada_l"), server.world.user("Bob")
        chat = server.world.private(ada)
        chat.say(ada, "😀 /help @hearth_bot, ask Bob", mentions={"Bob": bob})
        [message] = await messages(bot)
        assert message.from_user is not None
        assert (message.from_user.full_name, message.from_user.language_code) == ("Ada", "en")
        assert [(entity.type, entity.offset, text) for entity, text in message.parse_entities().items()] == [
            ("bot_command", 3, "/help"),
            ("mention", 9, "@hearth_bot"),
            ("text_mention", 26, "Bob"),
        ]
        assert message.entities[2].user is not None
        assert message.entities[2].user.id == bob.id


async def test_replies_and_quotes() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        await bot.send_message(chat.id, "😀 one two three")
        chat.say(ada, "why?", reply_to=chat.from_bot[0], quote="two")
        [message] = await messages(bot)
        assert message.reply_to_message is not None
        assert message.reply_to_message.message_id == 1
        assert message.quote is not None
        assert (message.quote.text, message.quote.position) == ("two", 7)


async def test_edits_of_texts_and_captions() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        said, shown = chat.say(ada, "/one"), chat.photo(ada, b"jpeg", caption="one")
        await messages(bot)
        chat.edit(said, "two")
        chat.edit(shown, "two")
        chat.edit(said)
        told = await messages(bot)
        assert [(m.text, m.caption, len(m.entities), m.edit_date is not None) for m in told] == [
            ("two", None, 0, True),
            (None, "two", 0, True),
            ("two", None, 0, True),
        ]


async def test_every_kind_of_file() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        chat.voice(ada, b"1", duration=2, caption="listen")
        chat.audio(ada, b"22", duration=3, file_name="song.flac", mime="audio/flac")
        chat.video_note(ada, b"333", duration=4)
        chat.document(ada, b"4444", file_name="a.pdf", mime="application/pdf")
        chat.photo(ada, b"55555")
        chat.sticker(ada, "🔥")
        voice, audio, note, document, photo, sticker = await messages(bot)
        assert voice.voice is not None
        assert (voice.voice.mime_type, voice.voice.file_size, voice.caption) == ("audio/ogg", 1, "listen")
        assert audio.audio is not None
        assert (audio.audio.file_name, audio.audio.mime_type) == ("song.flac", "audio/flac")
        assert note.video_note is not None
        assert note.video_note.duration == timedelta(seconds=4)
        assert document.document is not None
        assert document.document.file_name == "a.pdf"
        assert photo.photo[-1].width > photo.photo[0].width
        assert sticker.sticker is not None
        assert sticker.sticker.emoji == "🔥"
        for attached, content in ((audio.audio, b"22"), (photo.photo[-1], b"55555")):
            file = await bot.get_file(attached.file_id)
            assert bytes(await file.download_as_bytearray()) == content


async def test_a_forum_has_topics_and_a_general_one_that_says_nothing() -> None:
    async with talking(privacy=False) as (server, bot):
        ada = server.world.user("Ada")
        forum = server.world.supergroup("Club", ada, forum=True)
        forum.say(ada, "in general")
        topic = forum.open_topic(ada, "News")
        said = forum.say(ada, "in news", topic=topic)
        forum.say(ada, "why?", reply_to=said)
        general, created, news, answer = await messages(bot)
        assert (general.message_thread_id, general.is_topic_message, general.chat.is_forum) == (None, None, True)
        assert created.forum_topic_created is not None
        assert (created.message_thread_id, created.message_id) == (topic.id, topic.id)
        assert (news.message_thread_id, news.is_topic_message) == (topic.id, True)
        assert news.reply_to_message is not None
        assert news.reply_to_message.message_id == topic.id
        assert answer.message_thread_id == topic.id
        assert answer.reply_to_message is not None
        assert answer.reply_to_message.text == "in news"


async def test_a_private_chat_has_topics_if_the_bot_has() -> None:
    async with talking(topics=True) as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        topic = chat.open_topic(ada, "Mine")
        chat.say(ada, "hello", topic=topic)
        _, said = await messages(bot)
        assert (said.message_thread_id, said.is_topic_message, said.reply_to_message) == (topic.id, True, None)


async def test_any_field_of_a_message_can_be_set_if_the_documentation_has_it() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Bea"}
        chat.say(ada, "said by Bea", extra={"forward_origin": origin})
        for picture in (b"1", b"2"):
            chat.photo(ada, picture, extra={"media_group_id": "7"})
        forwarded, *album = await messages(bot)
        assert forwarded.forward_origin is not None
        assert forwarded.forward_origin.type == "hidden_user"
        assert [message.media_group_id for message in album] == ["7", "7"]
        with pytest.raises(AssertionError, match="Message has no field mood"):
            chat.say(ada, "hello", extra={"mood": "good"})


async def test_a_supergroup_without_topics_has_threads_of_replies() -> None:
    async with talking(privacy=False) as (server, bot):
        ada = server.world.user("Ada")
        group = server.world.supergroup("Club", ada)
        first = group.say(ada, "one")
        second = group.say(ada, "two", reply_to=first)
        group.say(ada, "three", reply_to=second)
        told = await messages(bot)
        assert [(m.message_thread_id, m.is_topic_message) for m in told] == [(None, None), (1, None), (1, None)]


async def test_a_channels_post_is_forwarded_into_its_discussion_group() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        group = server.world.supergroup("Talk", ada)
        channel = server.world.channel("News", ada, discussion=group)
        channel.publish("today")
        post, forwarded = await bot.get_updates()
        assert post.channel_post is not None
        assert (post.channel_post.text, post.channel_post.from_user) == ("today", None)
        assert forwarded.message is not None
        assert forwarded.message.is_automatic_forward
        assert forwarded.message.from_user is not None
        assert forwarded.message.from_user.id == 777000
        assert forwarded.message.sender_chat is not None
        assert forwarded.message.sender_chat.id == channel.id
        assert (await bot.get_chat(group.id)).linked_chat_id == channel.id
        await bot.send_message(channel.id, "mine")
        own = (await bot.get_updates(offset=forwarded.update_id + 1))[0].message
        assert own is not None
        assert (own.text, own.chat.id, own.is_automatic_forward) == ("mine", group.id, True)


async def test_those_who_do_not_write_in_their_own_name() -> None:
    async with talking(privacy=False) as (server, bot):
        ada = server.world.user("Ada")
        group, channel = server.world.supergroup("Club", ada), server.world.channel("News", ada)
        group.say_as_admin("hush")
        group.say_as_channel(channel, "hear")
        group.say(ada, "found", via_bot=server.world.user("Gif", username="gif", is_bot=True))
        admin, as_channel, via = await messages(bot)
        assert admin.from_user is not None
        assert admin.sender_chat is not None
        assert (admin.from_user.username, admin.sender_chat.id) == ("GroupAnonymousBot", group.id)
        assert as_channel.sender_chat is not None
        assert as_channel.sender_chat.id == channel.id
        assert via.via_bot is not None
        assert via.via_bot.username == "gif"


async def test_blocks_kicks_and_additions_are_told() -> None:
    async with talking() as (server, bot):
        ada, bea = server.world.user("Ada"), server.world.user("Bea")
        chat, group = server.world.private(ada), server.world.supergroup("Club", ada)
        chat.block()
        chat.unblock()
        group.kick_bot(ada)
        group.add_bot(ada)
        group.promote_bot(ada)
        group.join(bea, by=ada)
        group.leave(bea)
        updates = await bot.get_updates()
        changes = [update.my_chat_member for update in updates if update.my_chat_member]
        assert [(c.old_chat_member.status, c.new_chat_member.status) for c in changes] == [
            ("member", "kicked"),
            ("kicked", "member"),
            ("member", "kicked"),
            ("kicked", "member"),
            ("member", "administrator"),
        ]
        told = [update.message for update in updates if update.message]
        assert [[user.id for user in m.new_chat_members] for m in told] == [[server.world.bot.id], [bea.id], []]
        assert told[2].left_chat_member is not None


async def test_a_deletion_is_not_told() -> None:
    async with talking() as (server, _):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        chat.delete(chat.say(ada, "hello"))
        assert kinds(server) == ["message"]
        assert chat.messages == []


async def test_presses_of_old_messages_and_forged_ones() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        await bot.send_message(chat.id, "a")
        with pytest.raises(AssertionError, match="no button"):
            chat.press(ada, chat.from_bot[0], "help")
        chat.press(ada, chat.from_bot[0], "help", forged=True, readable=False)
        [update] = await bot.get_updates()
        assert update.callback_query is not None
        assert update.callback_query.data == "help"
        assert update.callback_query.message is not None
        assert not update.callback_query.message.is_accessible


async def test_strange_kinds_of_updates() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        server.world.strange_message("guest_message", ada, "hello")
        server.world.strange_message("business_message", ada, "hello")
        server.world.inline_query(ada, "cats")
        server.world.poll("Tea?")
        assert kinds(server) == ["guest_message", "business_message", "inline_query", "poll"]
        assert all(isinstance(update, Update) for update in await bot.get_updates())
        with pytest.raises(AssertionError, match="the platform never sends"):
            server.world.strange("poll", {"id": "p1"})


async def test_with_privacy_a_group_tells_only_what_is_meant_for_the_bot() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        group = server.world.supergroup("Club", ada)
        await bot.send_message(group.id, "I am here")
        mine = group.from_bot[0]
        other = group.say(ada, "unheard")
        group.say(ada, "@hearth_bot heard 1")
        group.say(ada, "@hearth_bottle unheard")
        group.say(ada, "heard 2", reply_to=mine)
        group.say(ada, "unheard", reply_to=other)
        group.say(ada, "/help heard 3")
        group.say(ada, "/help@other_bot unheard")
        group.say(ada, "hey bot, heard 4", mentions={"bot": server.world.bot})
        group.rename(ada, "Other")
        group.edit(other, "@hearth_bot still unheard")
        group.promote_bot(ada)
        group.say(ada, "heard 5")
        told = await messages(bot)
        assert [str(m.text)[-7:] for m in told if m.text] == [f"heard {n}" for n in range(1, 6)]
        assert [m.new_chat_title for m in told if m.new_chat_title] == ["Other"]


async def test_without_privacy_a_group_tells_everything_but_what_other_bots_say() -> None:
    async with talking(privacy=False) as (server, bot):
        ada, robot = server.world.user("Ada"), server.world.user("Robot", username="robot", is_bot=True)
        group = server.world.group("Club", ada, robot)
        group.say(ada, "one")
        group.say(robot, "two")
        group.say(ada, "/three")
        assert [m.text for m in await messages(bot)] == ["one", "/three"]


async def test_with_privacy_a_bare_command_is_for_the_bot_that_spoke_last() -> None:
    async with talking() as (server, bot):
        ada, robot = server.world.user("Ada"), server.world.user("Robot", username="robot", is_bot=True)
        group = server.world.group("Club", ada, robot)
        group.say(robot, "I am here")
        group.say(ada, "/help")
        group.say(ada, "/help@hearth_bot")
        assert [m.text for m in await messages(bot)] == ["/help@hearth_bot"]
