"""The Discord stand-in keeps the platform's rules for what a bot sends, edits and reads."""

from __future__ import annotations

import io
from typing import Any

import discord
import pytest
from discord.http import Route

from tests.discord_fake import Channel, Intent, Permission, User, serving
from tests.discord_fake.client import Listener, listening, refused, talking
from tests.discord_fake.server import DiscordServer

OPTIONS_IN_DISORDER = {
    "name": "ask",
    "description": "Ask",
    "options": [
        {"type": 3, "name": "model", "description": "Model"},
        {"type": 3, "name": "text", "description": "Text", "required": True},
    ],
}


def place(server: DiscordServer) -> tuple[User, Channel]:
    ada = server.world.user("Ada")
    return ada, server.world.guild("Ferns", ada).text("general")


def at(client: Listener, channel: Channel) -> discord.PartialMessageable:
    guild_id = channel.guild.id if channel.guild else None
    return client.get_partial_messageable(channel.id, guild_id=guild_id)


async def post(client: Listener, channel: Channel, **body: Any) -> Any:
    """A message as no library would let one send it."""
    return await client.http.request(Route("POST", "/channels/{channel_id}/messages", channel_id=channel.id), json=body)


async def test_a_message_is_sent_edited_and_deleted() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        question = channel.say(ada, "hello")
        there = at(client, channel)
        sent = await there.send("one", reference=there.get_partial_message(question.id), suppress_embeds=True)
        assert sent.reference is not None
        assert (channel.from_bot[0].reply_to, channel.from_bot[0].flags) == (question.id, 4)
        assert channel.from_bot[0].pings == [ada.id]
        await sent.edit(content="two")
        assert channel.from_bot[0].edits == ["one", "two"]
        await sent.delete()
        assert channel.from_bot == []
        assert [call.operation for call in server.calls[-3:]] == ["create_message", "update_message", "delete_message"]


async def test_text_ends_at_2000_characters() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        await at(client, channel).send("x" * 2000)
        with refused(50035):
            await at(client, channel).send("x" * 2001)
        server.expect_violation("Must be 2000 or fewer in length.")


async def test_an_empty_message_is_refused_and_spaces_around_a_text_are_lost() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        for empty in ("", " \n "):
            with refused(50006):
                await at(client, channel).send(empty)
            server.expect_violation("50006")
        await at(client, channel).send("  - a\n  - b\n")
        assert channel.texts_of_bot() == ["- a\n  - b"]


async def test_what_the_specification_does_not_have_is_refused_and_kept() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        with refused(50035):
            await post(client, channel, text="hello")
        server.expect_violation("UNKNOWN_PROPERTY")
        with pytest.raises(discord.HTTPException) as caught:
            await client.http.request(Route("GET", "/guilds/{guild_id}/bans", guild_id=1))
        assert caught.value.status == 501
        server.expect_violation("not implemented by the fake")


async def test_what_is_not_there_is_unknown() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        with refused(10003, discord.NotFound):
            await client.get_partial_messageable(123).send("a")
        with refused(10008, discord.NotFound):
            await at(client, channel).get_partial_message(123).edit(content="a")
        with refused(10013, discord.NotFound):
            await client.fetch_user(123)
        with refused(10004, discord.NotFound):
            await client.fetch_guild(123)


async def test_a_reply_to_what_is_gone_fails_unless_it_may_stand_alone() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        question = channel.say(ada, "hello")
        channel.delete(question)
        gone = discord.MessageReference(message_id=question.id, channel_id=channel.id)
        with refused(50035):
            await at(client, channel).send("a", reference=gone)
        lone = discord.MessageReference(message_id=question.id, channel_id=channel.id, fail_if_not_exists=False)
        await at(client, channel).send("b", reference=lone)
        assert [(message.content, message.reply_to) for message in channel.from_bot] == [("b", None)]


async def test_the_same_nonce_sends_once() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        first = await at(client, channel).send("a", nonce="n1")
        again = await at(client, channel).send("a", nonce="n1")
        assert first.id == again.id
        assert channel.texts_of_bot() == ["a"]
        server.world.scene.pass_(600)
        await at(client, channel).send("a", nonce="n1")
        assert channel.texts_of_bot() == ["a", "a"]


async def test_without_permission_nothing_is_done() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        message = channel.say(ada, "hello")
        channel.overwrite(server.world.bot, deny=Permission.SEND_MESSAGES)
        with refused(50013, discord.Forbidden):
            await at(client, channel).send("a")
        with refused(50013, discord.Forbidden):
            await at(client, channel).get_partial_message(message.id).delete()
        channel.overwrite(server.world.bot, deny=Permission.READ_MESSAGE_HISTORY)
        assert [message async for message in at(client, channel).history()] == []
        with refused(160002):
            await at(client, channel).send("a", reference=at(client, channel).get_partial_message(message.id))
        channel.overwrite(server.world.bot, deny=Permission.VIEW_CHANNEL)
        with refused(50001, discord.Forbidden):
            await at(client, channel).send("a")


async def test_another_ones_message_can_not_be_edited() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        message = channel.say(ada, "hello")
        with refused(50005, discord.Forbidden):
            await at(client, channel).get_partial_message(message.id).edit(content="a")


async def test_a_user_can_close_the_dm() -> None:
    async with talking() as (server, client):
        ada = server.world.user("Ada")
        user = await client.fetch_user(ada.id)
        await user.send("a")
        server.world.dm(ada).closed = True
        with refused(50007, discord.Forbidden):
            await user.send("b")
        assert server.world.dm(ada).texts_of_bot() == ["a"]


async def test_mentions_ping_those_who_are_allowed() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        text = f"{ada.mention} @everyone"
        await at(client, channel).send(text)
        await at(client, channel).send(text, allowed_mentions=discord.AllowedMentions.none())
        assert [message.pings for message in channel.from_bot] == [[ada.id], []]
        assert not any(message.json["mention_everyone"] for message in channel.from_bot)


async def test_history_comes_in_pages_newest_first() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        said = [channel.say(ada, str(number)) for number in range(7)]

        async def page(**where: int) -> list[str]:
            return [message["content"] for message in await client.http.logs_from(channel.id, 3, **where)]

        assert await page() == ["6", "5", "4"]
        assert await page(before=said[3].id) == ["2", "1", "0"]
        assert await page(after=said[3].id) == ["6", "5", "4"]
        assert await page(around=said[3].id) == ["4", "3", "2"]
        assert [message.content async for message in at(client, channel).history(limit=None, oldest_first=True)] == [
            *"0123456"
        ]


async def test_files_are_kept_on_the_cdn_and_their_addresses_expire() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        sent = await at(client, channel).send(
            "a", file=discord.File(io.BytesIO(b"words"), "a.txt", description="words")
        )
        attachment = sent.attachments[0]
        assert (await attachment.read(), attachment.description) == (b"words", "words")
        server.world.scene.pass_(25 * 3600)
        with pytest.raises(discord.NotFound):
            await attachment.read()
        refresh = Route("POST", "/attachments/refresh-urls")
        found = await client.http.request(refresh, json={"attachment_urls": [attachment.url]})
        assert await client.http.get_from_cdn(found["refreshed_urls"][0]["refreshed"]) == b"words"
        with pytest.raises(discord.NotFound):
            await client.http.get_from_cdn(attachment.url.replace("hm=", "hm=0"))


async def test_an_upload_can_be_too_large() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        with refused(40005):
            await at(client, channel).send(file=discord.File(io.BytesIO(bytes(10 * 2**20 + 1)), "a.bin"))


async def test_a_voice_message_needs_its_waveform() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        told = {"id": "0", "filename": "voice-message.ogg", "duration_secs": 1.5, "waveform": "AAAA"}

        async def speak(told: dict[str, Any]) -> None:
            payload = discord.utils._to_json({"flags": 8192, "attachments": [told]})
            file = {"name": "files[0]", "value": b"sound", "filename": told["filename"], "content_type": "audio/ogg"}
            form = [{"name": "payload_json", "value": payload}, file]
            route = Route("POST", "/channels/{channel_id}/messages", channel_id=channel.id)
            await client.http.request(route, form=form)

        await speak(told)
        assert channel.from_bot[0].attachments[0]["duration_secs"] == 1.5
        with refused(50035):
            await speak(told | {"waveform": None})
        server.expect_violation("VOICE_MESSAGES_MUST_HAVE_METADATA")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"flags": 1 << 15, "content": "a", "components": [{"type": 10, "content": "b"}]}, "LEGACY_FIELDS"),
        ({"content": "a", "components": [{"type": 10, "content": "b"}]}, "UNION_TYPE_CHOICES"),
        (
            {
                "content": "a",
                "components": 6 * [{"type": 1, "components": [{"type": 2, "style": 5, "url": "http://a"}]}],
            },
            "5",
        ),
        ({"components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "a"}]}]}, "custom_id"),
        (
            {"components": [{"type": 1, "components": 2 * [{"type": 2, "style": 1, "label": "a", "custom_id": "b"}]}]},
            "DUPL",
        ),
        (
            {"components": [{"type": 1, "components": [{"type": 5, "custom_id": "a", "max_values": 0}]}]},
            "maximum|NUMBER",
        ),
        ({"components": [{"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "a"}]}]}, "LABEL_OR_EMOJI"),
        ({"content": "a", "flags": 64}, "FLAGS_INVALID"),
        ({"embeds": [{"description": 4000 * "x"}, {"description": 4000 * "x"}]}, "MAX_EMBED_SIZE"),
        ({"content": "a", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "PARSE_EXCLUSIVE"),
    ],
)
async def test_rules_that_the_schema_does_not_know(body: Any, words: str) -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        with refused(50035):
            await post(client, channel, **body)
        assert any(word in server.violations[0] for word in words.split("|")), server.violations
        server.violations.clear()
        assert channel.from_bot == []


async def test_components_of_version_2_stand_alone_and_stay() -> None:
    async with talking() as (server, client):
        _, channel = place(server)
        view = discord.ui.LayoutView()
        view.add_item(discord.ui.Container(discord.ui.TextDisplay("settings"), accent_colour=7))
        await at(client, channel).send("old")
        await at(client, channel).send(view=view)
        assert channel.texts_of_bot() == ["old", "settings"]
        with refused(50035):
            await at(client, channel).get_partial_message(channel.from_bot[1].id).edit(content="a")
        server.expect_violation("LEGACY_FIELDS")
        with refused(50035):
            await at(client, channel).get_partial_message(channel.from_bot[0].id).edit(view=view)
        server.expect_violation("must lose")


async def test_an_archived_thread_takes_no_edits_and_opens_with_a_message() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        thread = channel.thread(ada, "ferns")
        sent = await at(client, thread).send("a")
        thread.archive()
        with refused(50083):
            await sent.edit(content="b")
        await at(client, thread).send("c")
        assert not thread.archived
        thread.archive(locked=True)
        with refused(50083):
            await at(client, thread).send("d")
        thread.archived = False
        with refused(160005):
            await at(client, thread).send("d")


async def test_threads_are_begun_and_found() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        question = channel.say(ada, "hello")
        made = await client.http.start_thread_with_message(
            channel.id, question.id, name="ferns", auto_archive_duration=1440
        )
        assert int(made["id"]) == question.id
        with refused(160004):
            await client.http.start_thread_with_message(
                channel.id, question.id, name="again", auto_archive_duration=1440
            )
        loose = await client.http.start_thread_without_message(
            channel.id, name="mosses", type=11, auto_archive_duration=1440
        )
        assert [thread.name for thread in channel.threads] == ["ferns", "mosses"]
        channel.threads[1].archive()
        assert channel.guild is not None
        active = await client.http.get_active_threads(channel.guild.id)
        archived = await client.http.get_public_archived_threads(channel.id)
        assert [thread["id"] for thread in active["threads"]] == [made["id"]]
        assert [thread["id"] for thread in archived["threads"]] == [loose["id"]]


async def test_threads_in_discord_pys_own_words() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        guild = server.world.guild("Ferns", ada)
        channel, forum = guild.text("general"), guild.forum("help")
        channel.say(ada, "hello")
        await server.wait_for(lambda: client.of("message"))
        async with client.of("message")[0].channel.typing():
            thread = await client.of("message")[0].create_thread(name="ferns")
        assert [typing.user_id for typing in channel.typing] == [server.world.bot.id]
        await thread.send("in the thread")
        assert channel.threads[0].texts_of_bot() == ["in the thread"]
        with refused(50013, discord.Forbidden):
            await thread.edit(locked=True)
        await thread.edit(name="mosses", archived=True)
        assert (channel.threads[0].name, channel.threads[0].archived) == ("mosses", True)
        shown = client.get_channel(channel.id)
        assert isinstance(shown, discord.TextChannel)
        assert [found.id async for found in shown.archived_threads()] == [thread.id]
        help_ = client.get_channel(forum.id)
        assert isinstance(help_, discord.ForumChannel)
        post = await help_.create_thread(name="How?", content="so", file=discord.File(io.BytesIO(b"a"), "a.txt"))
        assert (post.thread.id, post.message.id) == (post.message.id, forum.threads[0].from_bot[0].id)
        with refused(50013, discord.Forbidden):
            await post.thread.delete()
        forum.overwrite(server.world.bot, allow=Permission.MANAGE_THREADS)
        await post.thread.delete()
        assert forum.threads == []


async def test_guilds_tell_of_members_roles_and_channels() -> None:
    async with talking(privileged=Intent.MESSAGE_CONTENT) as (server, client):
        ada, channel = place(server)
        guild = next(iter(server.world.guilds.values()))
        guild.role("helper", Permission.MANAGE_MESSAGES, ada)
        found = await client.fetch_guild(guild.id)
        assert [role.name for role in await found.fetch_roles()] == ["@everyone", "hearth", "helper"]
        assert (await found.fetch_member(ada.id)).display_name == "Ada"
        assert [c.id for c in await found.fetch_channels()] == [channel.id]
        with refused(50001, discord.Forbidden):
            await client.http.get_members(guild.id, 10, None)
        with refused(10013, discord.NotFound):
            await found.fetch_member(123)
        assert [mine.id async for mine in client.fetch_guilds()] == [guild.id]


async def test_commands_are_synced_by_the_platforms_rules() -> None:
    async with talking() as (server, client):
        app = server.world.bot.id
        ask = {"name": "ask", "description": "Ask", "type": 1}
        first = await client.http.bulk_upsert_global_commands(app, [ask])
        second = await client.http.bulk_upsert_global_commands(
            app,
            [ask, {"name": "Transcribe", "type": 3}],
        )
        assert first[0]["id"] == second[0]["id"]
        assert [command["name"] for command in await client.http.get_global_commands(app)] == ["ask", "Transcribe"]
        for wrong, words in [
            ({"name": "Ask", "description": "a"}, "INVALID_NAME"),
            ({"name": "ask"}, "description"),
            (OPTIONS_IN_DISORDER, "REQUIRED_INVALID"),
            ({"name": "Menu", "type": 3, "description": "a"}, "CONTEXT_MENU_DESCRIPTION"),
        ]:
            with refused(50035):
                await client.http.upsert_global_command(app, wrong)  # type: ignore[arg-type]
            server.expect_violation(words)
        await client.http.delete_global_command(app, int(second[1]["id"]))
        assert [command["name"] for command in server.world.scene.commands] == ["ask"]


async def test_a_wrong_token_is_unauthorized() -> None:
    async with talking() as (_, client):
        client.http.token = "wrong"
        with pytest.raises(discord.HTTPException) as caught:
            await client.application_info()
        assert caught.value.status == 401


async def test_reactions_and_bulk_deletion() -> None:
    async with talking() as (server, client):
        ada, channel = place(server)
        said = [channel.say(ada, str(number)) for number in range(3)]
        await at(client, channel).get_partial_message(said[0].id).add_reaction("👍")
        assert said[0].reactions == {"👍": [server.world.bot.id]}
        channel.overwrite(server.world.bot, allow=Permission.MANAGE_MESSAGES)
        await client.http.delete_messages(channel.id, [said[0].id, said[1].id])
        assert [message.content for message in channel.messages] == ["2"]
        with refused(50035):
            await client.http.delete_messages(channel.id, [said[2].id])
        server.expect_violation("Must be 2 or more")
