"""What does Hearth cost on Discord? Beside a bare echo bot of discord.py's Client: see `benchmarks.crowd`.

The chats are channels of one server, in which Hearth answers everything. What it answers is there at the last edit of its
message, the one that takes the button to stop it away. For the calls per answer the pace is the default, the platform's limits
of rate are kept, and the script writes 300 tokens, one every 20 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks import crowd
from benchmarks.bots import Settings, bot_process
from benchmarks.crowd import ANSWER_TOKENS, CHATS, PLACES, SECONDS_PER_TOKEN, Calls, Said, past_of, until
from benchmarks.discord_bots import config_of
from benchmarks.past import give
from benchmarks.report import Table, run, scratch_directory
from bot.messages import ConversationKey
from tests.discord_fake import Call, Channel, DiscordServer, Message, User, serving

BOTS = "benchmarks.discord_bots"
COLUMNS = {"create_message": "messages", "update_message": "edits", "trigger_typing_indicator": "typing signs"}


class Bot(crowd.Bot):
    """A Discord bot at work."""

    def unacknowledged(self) -> bool:
        """The gateway is told nothing."""
        return False

    def answered(self, message: Said) -> float | None:
        """An answer is written into its message, with a button to stop it until it is whole."""
        assert isinstance(message, Message)
        return None if _stoppable(message) else message.versions[-1][0]

    def shown(self, chat: Any, message: Said, since: float) -> float:
        """The message comes with the first text."""
        return message.versions[0][0]


def _stoppable(message: Message) -> bool:
    return any(button["label"] == "Stop" for button in message.buttons)


def channels(server: DiscordServer, number: int) -> tuple[str, list[tuple[User, Channel]]]:
    """A server's id, and in it so many people, each with a channel."""
    people = [server.world.user(f"Ada {n}") for n in range(number)]
    guild = server.world.guild("Ferns", *people)
    return str(guild.id), [(person, guild.text(f"talk-{n}")) for n, person in enumerate(people)]


def settings_of(server: DiscordServer, folder: Path, **more: Any) -> Settings:
    """Where the bot finds the platform."""
    return Settings(url=server.api_base, gateway=server.gateway, token=server.token, data_dir=str(folder), **more)


@asynccontextmanager
async def at_work(kind: str, folder: Path, *, past: int = 0) -> AsyncIterator[Bot]:
    """A bot that is connected; its channels may have a past."""
    async with serving() as server:
        guild, people = channels(server, CHATS)
        settings = settings_of(server, folder)
        if past:
            account = config_of(settings).discord.account
            places = [(ConversationKey("discord", account, str(chat.id)), str(person.id)) for person, chat in people]
            await give(folder, past_of(places, past, guild=guild))
        async with bot_process(BOTS, kind, settings) as process:
            await until(lambda: server.ws.online, f"{kind} to connect")
            yield Bot(server, process, list(people))


async def long_answers(folder: Path) -> Table:
    """What a long answer costs in calls, in private chats and in channels, with the default pace."""
    async with serving() as server:
        server.rates.enable()
        _, people = channels(server, PLACES)
        more = {"paced": True, "answer_tokens": ANSWER_TOKENS, "seconds_per_token": SECONDS_PER_TOKEN}
        async with bot_process(BOTS, "hearth", settings_of(server, folder / "paced", **more)):
            await until(lambda: server.ws.online, "hearth to connect")
            before = len(server.calls)
            private = [server.world.dm(person) for person, _ in people]
            for (person, channel), direct in zip(people, private, strict=True):
                direct.say(person, "tell me a story")
                channel.say(person, "tell me a story")
            places = [*private, *(channel for _, channel in people)]
            await until(lambda: all(map(is_told, places)), "the whole answers")
            await asyncio.sleep(crowd.SETTLE)
            calls = server.calls[before:]
        return calls_table(calls, {channel.id for channel in private}, len(server.rates.refused))


def is_told(channel: Channel) -> bool:
    """Whether the whole answer stands there, and no button is left to stop it."""
    last = channel.everything[-1]
    return last.by_bot and len(last.content) >= ANSWER_TOKENS and not _stoppable(last)


def calls_table(calls: Sequence[Call], private: set[int], refused: int) -> Table:
    """Calls per answer by their kind."""
    found = [
        Calls(what, [call.operation for call in calls if (call.channel in private) is mine])
        for what, mine in (("private chat", True), ("channel", False))
    ]
    return crowd.calls_table("discord", COLUMNS, "typing signs", found, refused)


async def measure() -> AsyncIterator[Table]:
    """Speed, first text, calls."""
    with scratch_directory() as folder:
        measured = await crowd.compare(folder, at_work)
        yield crowd.speed_table("discord", *measured, acknowledges=False)
        yield crowd.first_text_table("discord", *measured)
        yield await long_answers(folder)


if __name__ == "__main__":
    run(measure())
