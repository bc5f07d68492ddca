"""Forty people in two channels at once: each channel has its order, and no word gets into the other's prompts."""

from __future__ import annotations

import re

from bot.testing import ScriptedEngine
from tests.discord_fake import Channel, User
from tests.discord_house import Ferns

PEOPLE = 40
ROUNDS = 2
TURN = re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)


def words(channel: Channel, person: User, number: int) -> str:
    """What somebody says there: it tells who, where and when."""
    return f"{person.username} in {channel.name}, round {number}"


async def test_forty_people_in_two_channels(ferns: Ferns) -> None:
    people = [ferns.world.user(f"Person {number}") for number in range(PEOPLE)]
    channels = [ferns.guild.text("moss"), ferns.guild.text("lichen")]
    names = {person: f"Nick {number}" if number % 3 == 0 else person.name for number, person in enumerate(people)}
    for person, name in names.items():
        ferns.guild.join(person)
        ferns.guild.rename(person, None if name == person.name else name)
    engine = ScriptedEngine(context_length=200_000, slots=2)
    async with ferns.house(engine=engine) as h:
        asked: dict[Channel, list[str]] = {channel: [] for channel in channels}
        for number in range(ROUNDS):
            for at, person in enumerate(people):
                channel = channels[(at + number) % 2]
                channel.say(person, words(channel, person, number), mention=ferns.bot)
                asked[channel].append(f"{names[person]}: {words(channel, person, number)}")
        for channel in channels:
            await h.answered(channel, *(f"You said: {question}" for question in asked[channel]))
        prompts = [TURN.findall(prompt) for prompt in h.prompts()]
    assert len(prompts) == PEOPLE * ROUNDS
    for channel in channels:
        own = [turns for turns in prompts if f"in {channel.name}," in turns[-1]]
        assert own == [asked[channel][: number + 1] for number in range(len(asked[channel]))]


async def test_forty_people_by_commands_and_by_mentions(ferns: Ferns) -> None:
    """A command waits for its turn as a message does, and its answer reaches who used it."""
    people = [ferns.world.user(f"Person {number}") for number in range(PEOPLE)]
    other = ferns.guild.text("other")
    for person in people:
        ferns.guild.join(person)
    async with ferns.house(engine=ScriptedEngine(context_length=200_000)) as h:
        used = {
            person: (ferns.general, other)[at % 2].command(person, "ask", text=f"I am {person.username}")
            for at, person in enumerate(people)
        }
        for person, interaction in used.items():
            await h.told(interaction, f"You said: {person.name}: I am {person.username}")
        for channel in (ferns.general, other):
            assert len(channel.from_bot) == PEOPLE / 2
        for prompt in h.prompts():
            turns = TURN.findall(prompt)
            numbers = [int(turn.rpartition("_")[2]) for turn in turns]
            assert [number % 2 for number in numbers] == [numbers[-1] % 2] * len(numbers)
            assert numbers == sorted(numbers)
