"""What people do on the Discord stand-in reaches discord.py as the platform would send it."""

from __future__ import annotations

import discord

from tests.discord_fake import Intent, Permission, serving
from tests.discord_fake.client import intents, listening


async def test_a_message_says_who_wrote_it_where_and_to_whom() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        first = channel.say(ada, "hello", mention=server.world.bot)
        channel.say(ada, "again", reply_to=first)
        await server.wait_for(lambda: len(client.of("message")) == 2)
        one, two = client.of("message")
        assert (one.author.display_name, one.channel.name, one.guild.name) == ("Ada", "general", "Ferns")
        assert one.mentions == [client.user]
        assert (two.reference.message_id, two.reference.resolved.content) == (
            first.id,
            f"{server.world.bot.mention} hello",
        )
        assert two.type is discord.MessageType.reply


async def test_what_was_there_before_comes_with_the_guild() -> None:
    async with serving() as server:
        ada = server.world.user("Ada")
        guild = server.world.guild("Ferns", ada)
        channel, hidden = guild.text("general"), guild.text("secret")
        hidden.overwrite(guild.id, deny=Permission.VIEW_CHANNEL)
        thread = channel.thread(ada, "mosses")
        async with listening(server) as client:
            found = client.guilds[0]
            assert [c.name for c in found.text_channels] == ["general"]
            assert [t.id for t in found.threads] == [thread.id]
            # Without the intent for members the bot knows itself only.
            assert [member.id for member in found.members] == [server.world.bot.id]
            hidden.say(ada, "nobody hears")
            channel.say(ada, "somebody hears")
            await server.wait_for(lambda: client.contents)
            assert client.contents == ["somebody hears"]


async def test_edits_deletions_reactions_and_typing_are_told() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        said = [channel.say(ada, str(number)) for number in range(3)]
        channel.edit(said[0], "zero")
        channel.embed(said[0], "A page", "http://127.0.0.1/")
        channel.react(ada, said[0], "👍")
        channel.unreact(ada, said[0], "👍")
        channel.type_(ada)
        channel.delete(said[0])
        channel.delete_many(said[1:])
        await server.wait_for(lambda: client.of("raw_bulk_message_delete"))
        edited, embedded = client.of("raw_message_edit")
        assert (edited.message.content, edited.message.edited_at is None) == ("zero", False)
        assert embedded.data["embeds"][0]["title"] == "A page"
        assert [event.emoji.name for event in client.of("raw_reaction_add")] == ["👍"]
        assert [event.user_id for event in client.of("raw_reaction_remove")] == [ada.id]
        assert [event.user_id for event in client.of("raw_typing")] == [ada.id]
        assert [event.message_id for event in client.of("raw_message_delete")] == [said[0].id]
        assert client.of("raw_bulk_message_delete")[0].message_ids == {said[1].id, said[2].id}


async def test_threads_and_posts_are_channels_of_their_own() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        guild = server.world.guild("Ferns", ada)
        channel, forum = guild.text("general"), guild.forum("help")
        question = channel.say(ada, "hello")
        thread = channel.thread(ada, "mosses", of=question)
        thread.say(ada, "in the thread")
        post = forum.post(ada, "How?", "in the forum")
        thread.archive(locked=True)
        await server.wait_for(lambda: client.of("raw_thread_update"))
        messages = client.of("message")
        assert [m.type.name for m in messages] == ["default", "thread_starter_message", "default", "default"]
        inside, posted = messages[2:]
        assert (thread.id, inside.channel.id, inside.channel.parent_id) == (question.id, thread.id, channel.id)
        assert (posted.id, posted.channel.id, posted.channel.name) == (post.id, post.id, "How?")
        assert client.of("raw_thread_update")[0].thread.locked


async def test_a_voice_message_and_a_file_can_be_read() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        chat.voice(ada, b"sound", duration=2.5)
        chat.say(ada, "look", attachments=[("notes.txt", b"words")])
        await server.wait_for(lambda: len(client.of("message")) == 2)
        spoken, written = (message.attachments[0] for message in client.of("message"))
        assert spoken.is_voice_message()
        assert (spoken.duration, len(spoken.waveform), await spoken.read()) == (2.5, 64, b"sound")
        assert (written.filename, written.content_type, await written.read()) == (
            "notes.txt",
            "text/plain; charset=utf-8",
            b"words",
        )


async def test_without_the_intent_only_mentions_dms_and_own_messages_have_content() -> None:
    async with serving() as server, listening(server, intents=intents(message_content=False)) as client:
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        channel.say(ada, "unseen", attachments=[("a.txt", b"a")])
        channel.say(ada, "seen", mention=server.world.bot)
        server.world.dm(ada).say(ada, "private")
        await client.get_partial_messageable(channel.id, guild_id=1).send("own")
        await server.wait_for(lambda: len(client.of("message")) == 4)
        blank, mention, private, own = client.of("message")
        assert (blank.content, blank.attachments) == ("", [])
        assert (mention.content, private.content, own.content) == (f"{server.world.bot.mention} seen", "private", "own")


async def test_without_an_intent_nothing_of_its_kind_is_told() -> None:
    narrow = intents(guild_messages=False, guild_typing=False)
    async with serving() as server, listening(server, intents=narrow) as client:
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        channel.say(ada, "unheard")
        channel.type_(ada)
        server.world.dm(ada).say(ada, "heard")
        await server.wait_for(lambda: client.contents)
        assert client.contents == ["heard"]
        assert client.of("raw_typing") == []


async def test_members_come_with_their_intent() -> None:
    wide = intents(members=True)
    async with serving() as server:
        ada, bob = server.world.user("Ada"), server.world.user("Bob")
        guild = server.world.guild("Ferns", ada)
        async with listening(server, intents=wide) as client:
            guild.join(bob)
            role = guild.role("helper", Permission.MANAGE_MESSAGES, bob)
            guild.rename(bob, "Robert")
            await server.wait_for(lambda: len(client.of("member_update")) == 2)
            member = client.guilds[0].get_member(bob.id)
            assert member is not None
            assert (member.display_name, [r.id for r in member.roles[1:]]) == ("Robert", [role.id])
            assert {m.id for m in client.guilds[0].members} == {ada.id, bob.id, server.world.bot.id}
            guild.leave(bob)
            await server.wait_for(lambda: client.of("member_remove"))


async def test_the_bot_can_come_and_go() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        guild = server.world.guild("Ferns", ada)
        await server.wait_for(lambda: client.of("guild_join"))
        guild.leave(server.world.bot)
        guild_channel = guild.text("general")
        guild_channel.say(ada, "unheard")
        await server.wait_for(lambda: client.of("guild_remove"))
        assert list(client.guilds) == []
        assert client.contents == []


async def test_a_privileged_intent_is_switched_on_in_the_portal_first() -> None:
    async with (
        serving(privileged=Intent.GUILD_MEMBERS) as server,
        listening(server, intents=intents(message_content=False)) as client,
    ):
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        channel.say(ada, "unseen")
        # REST is blank too.
        there = client.get_partial_messageable(channel.id, guild_id=1)
        assert [message.content async for message in there.history()] == [""]
        assert client.application is not None
        assert not client.application.flags.gateway_message_content_limited
        assert client.application.flags.gateway_guild_members_limited


async def test_a_webhook_is_nobody() -> None:
    async with serving() as server, listening(server) as client:
        channel = server.world.guild("Ferns", server.world.user("Ada")).text("general")
        channel.hook("Feed", "news")
        await server.wait_for(lambda: client.contents == ["news"])
        message = client.of("message")[0]
        assert (message.author.name, message.author.bot, message.webhook_id) == ("Feed", True, message.author.id)


async def test_a_forwarded_message_is_a_snapshot() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        guild = server.world.guild("Ferns", ada)
        source, target = guild.text("general"), guild.text("other")
        target.forward(ada, source.say(ada, "hello"), source)
        await server.wait_for(lambda: len(client.of("message")) == 2)
        forwarded = client.of("message")[1]
        assert (forwarded.content, forwarded.message_snapshots[0].content) == ("", "hello")
