"""What does Hearth cost on Telegram? Beside a bare echo bot of python-telegram-bot's Application: see `benchmarks.crowd`.

For the calls per answer the pace is the default, and the script writes 300 tokens, one every 20 ms.
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
from benchmarks.past import give
from benchmarks.report import Table, run, scratch_directory
from benchmarks.telegram_bots import config_of
from bot.messages import ConversationKey
from tests.telegram import Call, Chat, serving

BOTS = "benchmarks.telegram_bots"
ENVIRONMENT = {"PTB_TIMEDELTA": "1"}
COLUMNS = {
    "sendMessageDraft": "drafts",
    "sendMessage": "messages",
    "editMessageText": "edits",
    "sendChatAction": "typing signs",
}


class Bot(crowd.Bot):
    """A Telegram bot at work."""

    def unacknowledged(self) -> bool:
        """Updates are acknowledged by asking for the next ones."""
        return bool(self.server.queue.pending)

    def answered(self, message: Said) -> float:
        """A message is sent once it is whole."""
        return message.versions[0][0]

    def shown(self, chat: Any, message: Said, since: float) -> float:
        """Drafts come before it."""
        return min([float(draft.at) for draft in chat.drafts if draft.at >= since] + [message.versions[0][0]])


@asynccontextmanager
async def at_work(kind: str, folder: Path, *, past: int = 0) -> AsyncIterator[Bot]:
    """A bot that asks for updates; its chats may have a past."""
    async with serving() as server:
        people = [server.world.user(f"Ada {n}") for n in range(CHATS)]
        chats = [server.world.private(person) for person in people]
        settings = Settings(url=server.url, token=server.token, data_dir=str(folder))
        if past:
            account = config_of(settings).telegram.account
            places = [(ConversationKey("telegram", account, str(chat.id)), str(chat.id)) for chat in chats]
            await give(folder, past_of(places, past))
            for chat in chats:
                chat.first_id = past + 1
        async with bot_process(BOTS, kind, settings, **ENVIRONMENT) as process:
            await until(lambda: server.queue.polled, f"{kind} to ask for updates")
            yield Bot(server, process, list(zip(people, chats, strict=True)))


async def long_answers(folder: Path) -> Table:
    """What a long answer costs in calls, in private chats and in groups, with the default pace."""
    async with serving() as server:
        server.flood.enable()
        people = [server.world.user(f"Ada {n}") for n in range(PLACES)]
        groups = [server.world.supergroup(f"Group {person.id}", person) for person in people]
        settings = Settings(
            url=server.url,
            token=server.token,
            data_dir=str(folder / "paced"),
            paced=True,
            answer_tokens=ANSWER_TOKENS,
            seconds_per_token=SECONDS_PER_TOKEN,
        )
        async with bot_process(BOTS, "hearth", settings, **ENVIRONMENT):
            await until(lambda: server.queue.polled, "hearth to ask for updates")
            before = len(server.calls)
            private = [server.world.private(person) for person in people]
            for person, group in zip(people, groups, strict=True):
                server.world.private(person).say(person, "tell me a story")
                group.say(person, f"{server.world.bot.mention} tell me a story")
            await until(lambda: all(map(is_told, [*private, *groups])), "the whole answers")
            await asyncio.sleep(crowd.SETTLE)
            calls = server.calls[before:]
        return calls_table(calls, {chat.id for chat in private}, len(server.flood.refused))


def is_told(chat: Chat) -> bool:
    """Whether the whole answer stands there, and no button is left to stop it."""
    last = chat.everything[-1]
    stoppable = any(button["text"] == "Stop" for button in last.buttons)
    return last.by_bot and len(last.text) >= ANSWER_TOKENS and not stoppable


def calls_table(calls: Sequence[Call], private: set[int], refused: int) -> Table:
    """Calls per answer by their kind."""
    found = [
        Calls(what, [call.method for call in calls if (call.given.get("chat_id") in private) is mine])
        for what, mine in (("private chat", True), ("group", False))
    ]
    return crowd.calls_table("telegram", COLUMNS, "typing signs", found, refused)


async def measure() -> AsyncIterator[Table]:
    """Speed, first text, calls."""
    with scratch_directory() as folder:
        measured = await crowd.compare(folder, at_work)
        yield crowd.speed_table("telegram", *measured, acknowledges=True)
        yield crowd.first_text_table("telegram", *measured)
        yield await long_answers(folder)


if __name__ == "__main__":
    run(measure())
