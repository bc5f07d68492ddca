"""A whole Hearth on Discord: what people write there, and what they see."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from bot.messages import Role
from bot.testing import ScriptedEngine
from tests import speech
from tests.discord_fake import Intent
from tests.discord_house import DiscordHouse, Ferns

SUPPRESS_EMBEDS = 1 << 2
DAY = 24 * 3600 + 60.0


def asked(h: DiscordHouse) -> str:
    """The last question in the last prompt."""
    return h.prompts()[-1].rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]


# Is the bot meant?


async def test_an_answer_is_a_reply_that_grows(ferns: Ferns) -> None:
    async with ferns.house() as h:
        ferns.general.say(ferns.bea, "nice weather")
        h.engine.stall_after = 5
        question = ferns.general.say(ferns.ada, "is it?", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        (sent,) = ferns.general.from_bot
        assert [button["label"] for button in sent.buttons] == ["Stop"]
        h.engine.resume.set()
        await h.answered(ferns.general, "You said: Ada: is it?")
        assert (sent.reply_to, sent.pings) == (question.id, [])
        assert "You s" in sent.edits
        assert [button["label"] for button in sent.buttons] == ["Retry"]
        assert sent.flags & SUPPRESS_EMBEDS
        assert "nice weather" not in h.prompts()[0], "group talk is not kept, unless that is configured"


async def test_while_the_model_thinks_the_bot_types(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.typing, "the typing sign")
        h.engine.resume.set()
        await h.answered(ferns.general, "You said: Ada: hello")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{bot} what is up?", "what is up?"),
        ("{bot}, what is up?", "what is up?"),
        ("what is up, {bot}?", "what is up?"),
        ("<@!{id}> what is up?", "what is up?"),
        ("{role} what is up?", "what is up?"),
        ("ask {bot} about {bea}", "ask @hearth about @Bea"),
    ],
)
async def test_a_mention_means_the_bot(ferns: Ferns, text: str, said: str) -> None:
    """By its name, or by the role that is its own; it is no part of the words."""
    (role,) = (role for role in ferns.guild.roles.values() if role.managed_by == ferns.bot.id)
    names = {"bot": ferns.bot.mention, "id": ferns.bot.id, "role": role.mention, "bea": ferns.bea.mention}
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, text.format(**names))
        await h.answered(ferns.general, f"You said: Ada: {said}")


@pytest.mark.parametrize("ping", [True, False])
async def test_a_reply_means_the_bot_with_and_without_a_ping(ferns: Ferns, ping: bool) -> None:
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: hello")
        ferns.general.say(ferns.bea, "why?", reply_to=ferns.general.from_bot[0], ping=ping)
        await h.answered(ferns.general, "You said: Ada: hello", "You said: Bea: why?")
        assert "Ada: hello<|im_end|>" in h.prompts()[-1]
        assert asked(h) == "Bea: why?", "the history has what is replied to"


async def test_talk_of_others_is_not_answered(ferns: Ferns) -> None:
    """Nor what other bots, webhooks and the bot itself say, nor what the platform tells."""
    other = ferns.world.user("Clanker", bot=True)
    ferns.guild.join(other)
    async with ferns.house(groups={"always": [f"discord:guild/{ferns.guild.id}"], "names": ["hearth"]}) as h:
        ferns.general.say(other, "hello hearth", mention=ferns.bot)
        ferns.general.hook("News", f"{ferns.bot.mention} hearth has news")
        ferns.general.say(ferns.ada, "", extra={"type": 7})
        ferns.general.say(ferns.ada, "", extra={"type": 8})
        ferns.general.thread(ferns.ada, "Moss")
        ferns.general.say(ferns.ada, "hello")
        await h.answered(ferns.general, "You said: Ada: hello")
        ferns.general.say(ferns.bea, "hello?")
        await h.answered(ferns.general, "You said: Ada: hello", "You said: Bea: hello?")
        assert len(h.prompts()) == 2


async def test_another_bot_that_is_let_in_by_its_id_is_heard(ferns: Ferns) -> None:
    other = ferns.world.user("Clanker", bot=True)
    ferns.guild.join(other)
    async with ferns.house(permissions={"allow": ["discord:*", f"discord:{other.id}"]}) as h:
        ferns.general.say(other, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: clanker: hello")


async def test_names_and_channels_in_which_everything_is_answered(ferns: Ferns) -> None:
    open_ = ferns.guild.text("open")
    groups = {"names": ["butler"], "always": [f"discord:chat/{open_.id}"]}
    async with ferns.house(groups=groups) as h:
        ferns.general.say(ferns.ada, "nice weather")
        ferns.general.say(ferns.ada, "Butler, tea please")
        await h.answered(ferns.general, "You said: Ada: Butler, tea please")
        open_.say(ferns.bea, "nice weather")
        await h.answered(open_, "You said: Bea: nice weather")
        open_.say(ferns.bea, "isn't it?", mention=ferns.ada)
        await h.answered(open_, "You said: Bea: nice weather", "You said: Bea: @Ada isn't it?")


async def test_without_the_intent_it_hears_what_is_written_to_it(ferns: Ferns) -> None:
    """The portal has a switch for what people write to each other; the log says so."""
    ferns.world.scene.privileged = Intent(0)
    dm = ferns.world.dm(ferns.ada)
    with capture_logs() as logs:
        async with ferns.house(groups={"names": ["butler"]}) as h:
            ferns.general.say(ferns.ada, "Butler, tea please")
            ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
            await h.answered(ferns.general, "You said: Ada: hello")
            ferns.general.say(ferns.bea, "why?", reply_to=ferns.general.from_bot[0])
            await h.answered(ferns.general, "You said: Ada: hello", "You said: Bea: why?")
            dm.say(ferns.ada, "hello")
            await h.answered(dm, "You said: hello")
            used = ferns.general.command(ferns.bea, "ask", text="and now?")
            await h.told(used, "You said: Bea: and now?")
    (told,) = (log for log in logs if "Message Content Intent" in log["event"])
    assert told["log_level"] == "warning"


# Where


async def test_in_a_dm_everything_is_for_the_bot(ferns: Ferns) -> None:
    dm = ferns.world.dm(ferns.ada)
    async with ferns.house() as h:
        dm.say(ferns.ada, "I am Ada")
        await h.answered(dm, "You said: I am Ada")
        assert dm.from_bot[0].reply_to is None
        dm.say(ferns.ada, "who am I?")
        await h.answered(dm, "You said: I am Ada", "You said: who am I?")
        assert "I am Ada<|im_end|>" in h.prompts()[-1]


async def test_threads_are_conversations_of_their_own(ferns: Ferns) -> None:
    async with ferns.house() as h:
        moss, lichen = ferns.general.thread(ferns.ada, "Moss"), ferns.general.thread(ferns.ada, "Lichen", private=True)
        lichen.join(ferns.bot)
        moss.say(ferns.ada, "green", mention=ferns.bot)
        await h.answered(moss, "You said: Ada: green")
        lichen.say(ferns.ada, "grey", mention=ferns.bot)
        await h.answered(lichen, "You said: Ada: grey")
        ferns.general.say(ferns.ada, "brown", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: brown")
        moss.say(ferns.ada, "talk that is not for the bot")
        moss.say(ferns.bea, "what is it?", mention=ferns.bot)
        await h.answered(moss, "You said: Ada: green", "You said: Bea: what is it?")
        assert "green" in h.prompts()[-1]
        assert not any(other in h.prompts()[-1] for other in ("grey", "brown", "not for the bot"))


async def test_a_post_of_a_forum(ferns: Ferns) -> None:
    forum = ferns.guild.forum("help")
    async with ferns.house() as h:
        post = forum.post(ferns.ada, "Moss", f"{ferns.bot.mention} what is moss?")
        await h.answered(post, "You said: Ada: what is moss?")
        assert post.from_bot[0].reply_to is None, "the thread begins with it"
        post.say(ferns.ada, "and lichen?", reply_to=post.from_bot[0])
        await h.answered(post, "You said: Ada: what is moss?", "You said: Ada: and lichen?")
        assert h.key(post).chat == str(forum.id)


async def test_commands_and_buttons_in_a_thread_are_of_its_conversation(ferns: Ferns) -> None:
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        used = thread.command(ferns.ada, "ask", text="green")
        await h.told(used, "You said: Ada: green")
        thread.say(ferns.ada, "what?", mention=ferns.bot)
        await h.answered(thread, "You said: Ada: green", "You said: Ada: what?")
        assert "Ada: green" in h.prompts()[-1]
        thread.press(ferns.ada, thread.from_bot[1], "Retry")
        await h.answered(thread, "You said: Ada: green", *["You said: Ada: what?"] * 2)
        assert ferns.general.from_bot == []


async def test_a_thread_for_each_question(ferns: Ferns) -> None:
    """What the bot has opened needs no mention; commands stay where they are."""
    async with ferns.house(groups={"threads": [f"discord:chat/{ferns.general.id}"]}) as h:
        question = ferns.general.say(ferns.ada, f"what does {ferns.bea.mention} grow?", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.threads, "the thread")
        (thread,) = ferns.general.threads
        await h.answered(thread, "You said: Ada: what does @Bea grow?")
        assert (thread.id, thread.name, thread.owner_id) == (question.id, "what does grow?", ferns.bot.id)
        thread.say(ferns.bea, "moss")
        await h.answered(thread, "You said: Ada: what does @Bea grow?", "You said: Bea: moss")
        ferns.general.say(ferns.bea, "and lichen?", mention=ferns.bot)
        await h.server.wait_for(lambda: len(ferns.general.threads) == 2, "the second thread")
        await h.answered(ferns.general.threads[1], "You said: Bea: and lichen?")
        assert "moss" not in h.prompts()[-1]
        ferns.general.say(ferns.bea, "/help", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the help")
        assert len(ferns.general.threads) == 2


# What it refers to


async def test_names_stand_for_mentions_channels_and_emoji(ferns: Ferns) -> None:
    cooks = ferns.guild.role("Cooks")
    ferns.guild.rename(ferns.bea, "Bee")
    said = (
        f"{ferns.bea.mention} {cooks.mention} {ferns.general.mention} <:moss:123> <a:wave:45> <@999> <#888> @everyone"
    )
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, f"who are {said}?", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the answer")
        await h.settled()
        assert asked(h) == "Ada: who are @Bee @Cooks #general :moss: :wave: @somebody #somewhere @everyone?"
        assert not any(message.pings or message.json["mention_everyone"] for message in ferns.general.from_bot)


async def test_members_are_called_as_the_guild_calls_them(ferns: Ferns) -> None:
    ferns.guild.rename(ferns.ada, "Countess")
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Countess: hello")


async def test_anothers_message_that_is_replied_to_is_quoted(ferns: Ferns) -> None:
    async with ferns.house() as h:
        late = ferns.general.say(ferns.bea, "I will be late.\nSorry!")
        ferns.general.say(ferns.ada, "what does she mean?", mention=ferns.bot, reply_to=late)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the answer")
        await h.settled()
        assert asked(h) == "Ada: > Bea: I will be late.\n> Sorry!\n\nwhat does she mean?"
        ferns.general.say(ferns.ada, "", mention=ferns.bot, reply_to=late)
        await h.server.wait_for(lambda: len(ferns.general.from_bot) == 2, "the answer")
        await h.settled()
        assert asked(h) == "Ada: > Bea: I will be late.\n> Sorry!"


async def test_what_somebody_passes_on_is_quoted(ferns: Ferns) -> None:
    news = ferns.guild.text("news")
    first = news.say(ferns.bea, f"moss is out, says {ferns.ada.mention}")
    dm = ferns.world.dm(ferns.ada)
    async with ferns.house() as h:
        dm.forward(ferns.ada, first, news)
        await h.server.wait_for(lambda: dm.from_bot, "the answer")
        await h.settled()
        assert asked(h).startswith("> moss is out, says @")


async def test_a_reply_to_an_older_answer_goes_on_from_there(ferns: Ferns) -> None:
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "one", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: one")
        ferns.general.say(ferns.ada, "two", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: one", "You said: Ada: two")
        first = ferns.general.from_bot[0]
        ferns.general.say(ferns.bea, "three", reply_to=first)
        await h.answered(ferns.general, "You said: Ada: one", "You said: Ada: two", "You said: Bea: three")
        assert "Ada: one<|im_end|>" in h.prompts()[-1]
        assert "Ada: two" not in h.prompts()[-1]
        ferns.general.say(ferns.ada, "four", mention=ferns.bot)
        await h.server.wait_for(lambda: "You said: Ada: four" in ferns.general.texts_of_bot(), "the answer")
        assert "Ada: two<|im_end|>" in h.prompts()[-1], "the others' line is where it was"


# Files


async def test_documents_are_read_also_when_their_address_has_expired(ferns: Ferns) -> None:
    async with ferns.house() as h:
        notes = ("notes.txt", b"Buy a lantern.")
        ferns.general.say(ferns.ada, "what?", mention=ferns.bot, attachments=[notes])
        await h.server.wait_for(lambda: ferns.general.from_bot, "the answer")
        await h.settled()
        assert asked(h) == "Ada: what?\n\nFile notes.txt:\nBuy a lantern."
        assert not h.server.called("refresh_attachment_urls")
        h.engine.stall_after = 0
        ferns.general.say(ferns.ada, "first", mention=ferns.bot)
        await h.server.wait_for(lambda: h.engine.active == 1, "a question that takes long")
        ferns.general.say(ferns.ada, "and now?", mention=ferns.bot, attachments=[("more.txt", b"And oil.")])
        h.server.world.scene.pass_(DAY)
        h.engine.resume.set()
        await h.server.wait_for(lambda: len(h.prompts()) == 3, "the question")
        await h.settled()
        assert asked(h) == "Ada: and now?\n\nFile more.txt:\nAnd oil."
        assert h.server.called("refresh_attachment_urls")


async def test_a_file_of_anothers_message_can_be_asked_about(ferns: Ferns) -> None:
    async with ferns.house() as h:
        shown = ferns.general.say(ferns.bea, "", attachments=[("notes.txt", b"Buy a lantern.")])
        ferns.general.say(ferns.ada, "what does she want?", mention=ferns.bot, reply_to=shown)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the answer")
        await h.settled()
        assert asked(h) == "Ada: what does she want?\n\nFile notes.txt:\nBuy a lantern."


async def test_a_voice_message_is_heard(ferns: Ferns) -> None:
    dm = ferns.world.dm(ferns.ada)
    async with ferns.house() as h:
        dm.voice(ferns.ada, speech.opus("what is my name"), duration=2.0)
        await h.server.wait_for(lambda: dm.from_bot, "the answer")
        await h.settled()
        assert "what is my name" in asked(h)
        assert "what is my name" in dm.texts_of_bot()[0]
        conversation = await h.app.store.conversation(h.key(dm))
        question, _ = await h.app.store.history(conversation.head)
        (item,) = (read.attachment for read in question.attachments)
        assert (item.kind, item.name, item.media_type, item.duration) == ("voice", "", "audio/ogg", 2.0)
        spoken = ferns.general.voice(ferns.bea, speech.opus("what is my name"), duration=2.0)
        ferns.general.say(ferns.ada, "what does she say?", mention=ferns.bot, reply_to=spoken)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the answer")
        await h.settled()
        assert "what is my name" in asked(h)
        file = ("said.ogg", speech.opus("what is my name"))
        ferns.general.say(ferns.ada, "and here?", mention=ferns.bot, attachments=[file])
        await h.server.wait_for(lambda: len(h.prompts()) == 3, "the question")
        await h.settled()
        assert "what is my name" in asked(h)


@pytest.mark.parametrize(("kind", "name"), [("picture", "moss.png"), ("sticker", "Wave")])
async def test_a_picture_gets_a_truthful_word_and_is_not_stored(ferns: Ferns, kind: str, name: str) -> None:
    word = f"I cannot read this: `{name}` (pictures are not understood yet)."
    dm = ferns.world.dm(ferns.ada)
    sticker = {"sticker_items": [{"id": "749054660769218631", "name": "Wave", "format_type": 1}]}
    async with ferns.house() as h:
        if kind == "picture":
            dm.say(ferns.ada, attachments=[("moss.png", b"png")])
        else:
            dm.say(ferns.ada, extra=sticker)
        await h.answered(dm, word)
        dm.say(ferns.ada, "hello")
        await h.answered(dm, word, "You said: hello")
        conversation = await h.app.store.conversation(h.key(dm))
        line = [(message.role, message.text) for message in await h.app.store.history(conversation.head)]
        assert line == [(Role.USER, "hello"), (Role.ASSISTANT, "You said: hello")]


# What people see


async def test_markdown_is_discord_s_own(ferns: Ferns) -> None:
    said = "**Bold** and [a link](https://example.org)\n\n| a | b |\n|---|---|\n| c | d |\n\n#### Deep\n~~~py\nprint(1)\n~~~"
    async with ferns.house(engine=ScriptedEngine(lambda _: said)) as h:
        ferns.general.say(ferns.ada, "show me", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the answer")
        await h.settled()
        shown = ferns.general.texts_of_bot()[0]
        assert shown.startswith("**Bold** and [a link](https://example.org)\n\n```\na")
        assert "### Deep\n```py\nprint(1)\n```" in shown


async def test_a_model_cannot_be_talked_into_pings(ferns: Ferns) -> None:
    said = f"@everyone @here {ferns.bea.mention} <@&{ferns.guild.id}>"
    async with ferns.house(engine=ScriptedEngine(lambda _: said)) as h:
        ferns.general.say(ferns.ada, "wake them", mention=ferns.bot)
        await h.answered(ferns.general, said)
        (sent,) = ferns.general.from_bot
        assert (sent.pings, sent.json["mention_roles"], sent.json["mention_everyone"]) == ([], [], False)


async def test_commands_can_be_typed(ferns: Ferns) -> None:
    async with ferns.house() as h:
        asked_ = ferns.general.say(ferns.ada, "/history", mention=ferns.bot)
        await h.answered(ferns.general, "This conversation is empty.")
        assert ferns.general.from_bot[0].reply_to == asked_.id
        dm = ferns.world.dm(ferns.ada)
        dm.say(ferns.ada, "/export")
        await h.server.wait_for(lambda: dm.from_bot, "the file")
        assert [file["filename"] for file in dm.from_bot[0].attachments] == ["hearth-export.json"]
