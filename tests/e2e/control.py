"""The control: the same questions, asked of a server that nobody kills."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from bot.messages import Role
from storage.store import SqlStore
from tests.e2e.file_adapter import key
from tests.e2e.hearth import Hearth, serving
from tests.e2e.server import Options

UNDISTURBED = Options(per_token=0.0, prefill=0.0, pause=0.0)
Questions = Mapping[str, list[tuple[str, str]]]
"""Chat -> event id (a number, in the order of asking) and text of its questions, in order."""


def undisturbed(folder: Path, questions: Questions) -> dict[str, str]:
    """The answers to the same questions in the same conversations without a kill, by `chat/event`."""
    with serving(Hearth(folder, UNDISTURBED, f"sqlite+aiosqlite:///{folder / 'hearth.db'}")) as hearth:
        hearth.start()
        every = [(int(event), chat, text) for chat, asked in questions.items() for event, text in asked]
        for event, chat, text in sorted(every):
            hearth.ask_again(event, chat, text)
        hearth.finish()
        assert hearth.stop() == 0
    said = dict[str, str]()
    for chat, told in stored(hearth.url, questions).items():
        for (number, text), answer in zip(questions[chat], told[1::2], strict=True):
            said[f"{chat}/{number}"] = answer
            if text.startswith("Count to "):
                last = int(text.removeprefix("Count to ").rstrip("."))
                assert answer == " ".join(map(str, range(1, last + 1)))
    return said


def stored(url: str, chats: Iterable[str]) -> dict[str, list[str]]:
    """Chat -> the texts from the root of the conversation to its head, which are questions and answers in turn."""
    texts = dict[str, list[str]]()

    async def read() -> None:
        store = await SqlStore.open(url, default_retention_days=30)
        for chat in chats:
            conversation = await store.conversation(key(chat))
            path = await store.history(conversation.head)
            assert [m.role for m in path] == [Role.USER, Role.ASSISTANT] * (len(path) // 2), chat
            texts[chat] = [m.text for m in path]
        assert await store.pending() == 0
        await store.aclose()

    asyncio.run(read())
    return texts
