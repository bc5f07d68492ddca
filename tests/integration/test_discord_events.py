"""What changes on Discord after it was written: edits, deletions, and places that are there no more."""

from __future__ import annotations

import time

from bot.messages import Role
from tests.discord_fake import DEADLINE, Channel
from tests.discord_house import DiscordHouse, Ferns

GONE = "\n\n_(The question was deleted.)_"


async def line(h: DiscordHouse, channel: Channel) -> list[tuple[Role, str]]:
    """The conversation of a channel, as the store has it."""
    found = await h.app.store.find_conversation(h.key(channel))
    return [] if found is None else [(m.role, m.text) for m in await h.app.store.history(found.head)]


async def said(h: DiscordHouse, *words: str) -> str:
    """All that the store has of these people."""
    return str([await h.app.store.export("discord", person) for person in words])


async def gone(h: DiscordHouse, channel: Channel) -> None:
    """Return when nothing is kept of a channel."""
    end = time.monotonic() + DEADLINE
    while await h.app.store.find_conversation(h.key(channel)) is not None:
        assert time.monotonic() < end, f"{channel.name} is still known"


# Edits


async def test_the_last_question_is_answered_anew_in_place(ferns: Ferns) -> None:
    async with ferns.house() as h:
        question = ferns.general.say(ferns.ada, "what is mos?", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: what is mos?")
        ferns.general.edit(question, f"{ferns.bot.mention} what is moss?")
        await h.answered(ferns.general, "You said: Ada: what is moss?")
        (sent,) = ferns.general.from_bot
        assert "You said: Ada: what is mos?" in sent.edits
        assert "what is mos?" not in h.prompts()[-1]
        assert await line(h, ferns.general) == [
            (Role.USER, "what is moss?"),
            (Role.ASSISTANT, "You said: Ada: what is moss?"),
        ]


async def test_in_a_dm_too(ferns: Ferns) -> None:
    dm = ferns.world.dm(ferns.ada)
    async with ferns.house() as h:
        question = dm.say(ferns.ada, "what is mos?")
        await h.answered(dm, "You said: what is mos?")
        dm.edit(question, "what is moss?")
        await h.answered(dm, "You said: what is moss?")


async def test_a_question_that_waits_is_replaced(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        ferns.general.say(ferns.bea, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: h.engine.active == 1, "the first question")
        question = ferns.general.say(ferns.ada, "what is mos?", mention=ferns.bot)
        ferns.general.edit(question, f"{ferns.bot.mention} what is moss?")
        marker = ferns.general.command(ferns.ada, "help")  # events of a channel come in their order
        await h.server.wait_for(lambda: marker.answered, "the edit")
        h.engine.resume.set()
        await h.settled()
        answers = [text for text in ferns.general.texts_of_bot() if text.startswith("You said")]
        assert answers == ["You said: Bea: hello", "You said: Ada: what is moss?"]
        assert not any("what is mos?" in prompt for prompt in h.prompts())


async def test_a_question_that_is_being_answered_is_begun_anew(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5
        question = ferns.general.say(ferns.ada, "what is mos?", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        ferns.general.edit(question, f"{ferns.bot.mention} what is moss?")
        await h.server.wait_for(lambda: len(h.prompts()) == 2, "the second attempt")
        h.engine.resume.set()
        await h.answered(ferns.general, "You said: Ada: what is moss?")


async def test_of_an_older_question_only_the_text_changes(ferns: Ferns) -> None:
    async with ferns.house() as h:
        question = ferns.general.say(ferns.ada, "I am Ann", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: I am Ann")
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: I am Ann", "You said: Ada: hello")
        ferns.general.edit(question, f"{ferns.bot.mention} I am Ada")
        ferns.general.say(ferns.ada, "who am I?", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: I am Ann", "You said: Ada: hello", "You said: Ada: who am I?")
        assert len(h.prompts()) == 3
        assert "Ada: I am Ada<|im_end|>" in h.prompts()[-1]


async def test_what_the_platform_does_to_a_message_is_no_edit(ferns: Ferns) -> None:
    """It shows a link's card, and a thread that was opened."""
    async with ferns.house() as h:
        question = ferns.general.say(ferns.ada, "see https://example.org", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: see https://example.org")
        ferns.general.embed(question, "Example", "https://example.org")
        ferns.general.thread(ferns.bea, "About it", of=question)
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: see https://example.org", "You said: Ada: hello")
        assert len(h.prompts()) == 2


async def test_an_edit_that_calls_the_bot_is_a_question(ferns: Ferns) -> None:
    async with ferns.house() as h:
        talk = ferns.general.say(ferns.ada, "what is moss?")
        ferns.general.edit(talk, "what is moss, anybody?")
        ferns.general.edit(talk, f"what is moss, {ferns.bot.mention}?")
        await h.answered(ferns.general, "You said: Ada: what is moss?")
        assert ferns.general.from_bot[0].reply_to == talk.id


async def test_an_edit_within_a_thread_stays_there(ferns: Ferns) -> None:
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        question = thread.say(ferns.ada, "what is mos?", mention=ferns.bot)
        await h.answered(thread, "You said: Ada: what is mos?")
        thread.edit(question, f"{ferns.bot.mention} what is moss?")
        await h.answered(thread, "You said: Ada: what is moss?")
        assert ferns.general.from_bot == []


# Deletions


async def test_a_deleted_question_leaves_the_history_and_its_answer_says_so(ferns: Ferns) -> None:
    async with ferns.house() as h:
        question = ferns.general.say(ferns.ada, "I like moss", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: I like moss")
        ferns.general.delete(question)
        await h.answered(ferns.general, "You said: Ada: I like moss" + GONE)
        assert ferns.general.from_bot[0].buttons == []
        assert await line(h, ferns.general) == [(Role.ASSISTANT, "You said: Ada: I like moss")]
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: len(ferns.general.from_bot) == 2, "the answer")
        assert "user\nAda: I like moss" not in h.prompts()[-1]


async def test_many_that_a_moderator_deletes_at_once(ferns: Ferns) -> None:
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house(chat={"remember_group_talk": True}) as h:
        one = thread.say(ferns.ada, "secret one", mention=ferns.bot)
        await h.answered(thread, "You said: Ada: secret one")
        talk = thread.say(ferns.bea, "secret two")
        three = thread.say(ferns.ada, "secret three", mention=ferns.bot)
        await h.answered(thread, "You said: Ada: secret one", "You said: Ada: secret three")
        thread.delete_many([one, talk, three])
        await h.answered(thread, "You said: Ada: secret one" + GONE, "You said: Ada: secret three" + GONE)
        assert [role for role, _ in await line(h, thread)] == [Role.ASSISTANT, Role.ASSISTANT]
        assert "secret two" not in await said(h, str(ferns.bea.id))


async def test_an_answer_whose_question_is_deleted_meanwhile_goes(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5
        question = ferns.general.say(ferns.ada, "what is moss?", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        waiting = ferns.general.say(ferns.bea, "and lichen?", mention=ferns.bot)
        ferns.general.delete(waiting)
        ferns.general.delete(question)
        await h.answered(ferns.general)
        assert h.engine.active == 0
        assert await line(h, ferns.general) == []
        h.engine.stall_after = None
        ferns.general.say(ferns.bea, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Bea: hello")
        assert len(h.prompts()) == 2


async def test_a_deletion_in_a_thread_that_is_not_in_memory(ferns: Ferns) -> None:
    """Of an archived one the library knows nothing after a restart."""
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        question = thread.say(ferns.ada, "I like moss", mention=ferns.bot)
        await h.answered(thread, "You said: Ada: I like moss")
    thread.archive()
    async with ferns.house() as h:
        thread.delete(question)
        ferns.general.say(ferns.bea, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Bea: hello")
        await h.settled()
        assert "I like moss" not in await said(h, str(ferns.ada.id))


# Places


async def test_nothing_stays_of_a_channel_that_was_deleted(ferns: Ferns) -> None:
    other = ferns.guild.text("other")
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        for channel in (ferns.general, thread, other):
            channel.say(ferns.ada, f"in {channel.name}", mention=ferns.bot)
            await h.answered(channel, f"You said: Ada: in {channel.name}")
        ferns.general.discard()
        other.say(ferns.bea, "hello", mention=ferns.bot)
        await h.answered(other, "You said: Ada: in other", "You said: Bea: hello")
        await gone(h, ferns.general)
        await gone(h, thread)
        kept = await said(h, str(ferns.ada.id))
        assert "in other" in kept
        assert "in general" not in kept
        assert "in Moss" not in kept


async def test_nothing_stays_of_a_thread_that_was_deleted(ferns: Ferns) -> None:
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        for channel in (ferns.general, thread):
            channel.say(ferns.ada, f"in {channel.name}", mention=ferns.bot)
            await h.answered(channel, f"You said: Ada: in {channel.name}")
        thread.discard()
        await gone(h, thread)
        kept = await said(h, str(ferns.ada.id))
        assert "in general" in kept
        assert "in Moss" not in kept


async def test_an_answer_on_its_way_to_a_channel_that_is_deleted_ends(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5
        ferns.general.say(ferns.ada, "what is moss?", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        ferns.general.discard()
        await h.settled()
        assert h.engine.active == 0
        assert await h.app.store.find_conversation(h.key(ferns.general)) is None


async def test_nothing_stays_of_a_guild_that_the_bot_has_left(ferns: Ferns) -> None:
    elsewhere = ferns.world.guild("Others", ferns.olga, ferns.ada).text("talk")
    async with ferns.house() as h:
        for channel in (ferns.general, elsewhere):
            channel.say(ferns.ada, f"in {channel.name}", mention=ferns.bot)
            await h.answered(channel, f"You said: Ada: in {channel.name}")
        ferns.guild.leave(ferns.bot)
        await gone(h, ferns.general)
        kept = await said(h, str(ferns.ada.id))
        assert "in talk" in kept
        assert "in general" not in kept
        ferns.guild.join(ferns.bot)
        ferns.general.say(ferns.ada, "do you know me?", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: in general", "You said: Ada: do you know me?")
        assert "in general" not in h.prompts()[-1]


async def test_nothing_stays_of_a_guild_that_it_was_removed_from_while_it_was_away(ferns: Ferns) -> None:
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: hello")
    ferns.guild.leave(ferns.bot)
    dm = ferns.world.dm(ferns.bea)
    async with ferns.house() as h:
        await gone(h, ferns.general)
        dm.say(ferns.bea, "hello")
        await h.answered(dm, "You said: hello")
        assert "Ada" not in await said(h, str(ferns.ada.id))
