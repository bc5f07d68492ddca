"""What a bot has said for good in a chat of a stand-in, for tests that wait for a Hearth which is another process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tests.e2e.platform_thread import Platform


class Said(Protocol):
    """A message of the bot."""

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """As the platform has them."""


M = TypeVar("M", bound=Said)
WHOLE = ("Retry",)
"""The labels of the buttons under an answer that is whole."""


class Chat(Protocol[M]):
    """Where it was said."""

    @property
    def from_bot(self) -> list[M]:
        """What the bot wrote and did not delete."""

    def texts_of_bot(self) -> list[str]:
        """The texts of these."""


def answered(
    platform: Platform[Any],
    chat: Chat[M],
    act: Callable[[], object],
    text: str,
    more: int = 1,
    *,
    buttons: Sequence[str] = WHOLE,
) -> M:
    """Do something, and return the bot's last message when there are so many `more` and that one says this for good."""
    before = len(chat.from_bot)
    platform.do(act)

    def ends() -> bool:
        said = chat.from_bot
        whole = labels(said[-1]) == [*buttons] if said else False
        return len(said) == before + more and whole and chat.texts_of_bot()[-1] == text

    try:
        platform.wait(ends, repr(text))
    except AssertionError as error:
        raise AssertionError(f"{error}; there is {chat.texts_of_bot()}") from error
    return chat.from_bot[-1]


def labels(message: Said) -> list[str]:
    """What stands on the buttons, which each platform calls otherwise."""
    return [str(button.get("label") or button.get("text")) for button in message.buttons]
