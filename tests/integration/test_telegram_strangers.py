"""Who is not let in gets nothing from the bot on Telegram but the configured word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.telegram import TelegramServer, User, serving
from tests.telegram_house import telegram_house

CODE = "lantern-under-the-bridge"


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def eve(server: TelegramServer) -> User:
    return server.world.user("Eve")


def doors(owner: User, **more: Any) -> dict[str, Any]:
    """The owner may, and nobody else."""
    return {"allow": [f"telegram:{owner.id}"], **more}


async def test_a_stranger_is_told_an_id_and_nothing_is_kept(
    tmp_path: Path, server: TelegramServer, ada: User, eve: User
) -> None:
    chat = server.world.private(eve)
    async with telegram_house(tmp_path, server, permissions=doors(ada)) as h:
        chat.say(eve, "let me in")
        chat.say(eve, "please")
        word = f"I do not know you yet. My owner can let you in with this id: telegram:{eve.id}"
        await h.answered(chat, word)
        chat.voice(eve, b"OggS", duration=3)
        server.world.private(ada).say(ada, "hello")
        await h.answered(server.world.private(ada), "You said: hello")
        assert chat.texts_of_bot() == [word]
        assert await h.app.store.find_conversation(h.key(chat)) is None
        assert len(h.prompts()) == 1
        assert not server.called("getFile")


async def test_the_word_is_the_owners_and_may_be_none(
    tmp_path: Path, server: TelegramServer, ada: User, eve: User
) -> None:
    chat = server.world.private(eve)
    async with telegram_house(tmp_path, server, permissions=doors(ada, stranger_word="")) as h:
        chat.say(eve, "let me in")
        server.world.private(ada).say(ada, "hello")
        await h.answered(server.world.private(ada), "You said: hello")
        assert chat.texts_of_bot() == []


async def test_a_link_with_the_code_lets_in(tmp_path: Path, server: TelegramServer, ada: User, eve: User) -> None:
    """`https://t.me/hearth_bot?start=CODE` makes the client send this."""
    chat = server.world.private(eve)
    async with telegram_house(tmp_path, server, permissions=doors(ada, pairing_code=CODE)) as h:
        chat.say(eve, f"/start {CODE}")
        await server.wait_for(lambda: chat.from_bot and chat.texts_of_bot()[0].startswith("Welcome"), "the welcome")
        chat.say(eve, "hello")
        await h.answered(chat, chat.texts_of_bot()[0], "You said: hello")
    async with telegram_house(tmp_path, server, permissions=doors(ada, pairing_code=CODE)) as h:
        chat.say(eve, "again")
        await h.answered(chat, chat.texts_of_bot()[0], "You said: hello", "You said: again")


async def test_in_a_group_strangers_are_told_once_and_only_if_they_ask(
    tmp_path: Path, server: TelegramServer, ada: User, eve: User
) -> None:
    group = server.world.supergroup("Friends", eve, ada)
    async with telegram_house(tmp_path, server, permissions=doors(ada)) as h:
        group.say(eve, "nice weather")
        group.say(eve, "@hearth_bot hello")
        group.say(eve, "@hearth_bot hello?")
        await server.wait_for(lambda: group.from_bot, "the word")
        group.say(ada, "@hearth_bot hello")
        await server.wait_for(lambda: "You said: Ada: hello" in group.texts_of_bot(), "the answer")
        await h.settled()
        assert len(group.from_bot) == 2
        assert f"telegram:{eve.id}" in group.texts_of_bot()[0]
        assert f"telegram:chat/{group.id}" in group.texts_of_bot()[0]
        assert "Eve" not in h.prompts()[-1]


async def test_a_stranger_presses_in_vain(tmp_path: Path, server: TelegramServer, ada: User, eve: User) -> None:
    group = server.world.supergroup("Friends", ada, eve)
    async with telegram_house(tmp_path, server, permissions=doors(ada)) as h:
        group.say(ada, "@hearth_bot hello")
        await h.answered(group, "You said: Ada: hello")
        group.press(eve, group.from_bot[0], "Retry")
        group.press(eve, group.from_bot[0], "choose:keep:0", forged=True)
        await h.settled()
        assert group.texts_of_bot() == ["You said: Ada: hello"]
        assert len(h.prompts()) == 1


async def test_what_only_looks_like_a_message_to_the_bot_gets_nothing(
    tmp_path: Path, server: TelegramServer, ada: User
) -> None:
    """A guest's, a business account's and a channel's message in the owner's name, and an update for another bot."""
    async with telegram_house(tmp_path, server, permissions=doors(ada)) as h:
        server.world.strange_message("guest_message", ada, "@hearth_bot hello")
        server.world.strange_message("business_message", ada, "@hearth_bot hello")
        channel = server.world.channel("Ada's news", ada)
        channel.publish("@hearth_bot hello")
        server.world.inline_query(ada, "hello")
        group = server.world.supergroup("Friends", ada)
        group.say(ada, "/help@other_bot")
        group.say_as_channel(channel, "hello")
        await h.settled()
        assert server.world.messages() == []
        assert h.prompts() == []


async def test_who_is_denied_is_not_heard_as_a_channel_either(
    tmp_path: Path, server: TelegramServer, ada: User, eve: User
) -> None:
    group, channel = server.world.supergroup("Friends", ada, eve), server.world.channel("Eve's", eve)
    everybody = {"allow": ["telegram:*"], "deny": [f"telegram:{eve.id}"]}
    async with telegram_house(tmp_path, server, permissions=everybody) as h:
        group.say(eve, "@hearth_bot hello")
        group.say_as_channel(channel, "@hearth_bot hello")
        group.say(ada, "@hearth_bot hello")
        await h.answered(group, "You said: Ada: hello")
    everybody["allow"].append(f"telegram:{channel.id}")
    async with telegram_house(tmp_path, server, permissions=everybody) as h:
        group.say_as_channel(channel, "@hearth_bot hello")
        await h.answered(group, "You said: Ada: hello", "You said: Eve's: hello")


async def test_names_and_chats_in_which_everything_is_answered(
    tmp_path: Path, server: TelegramServer, ada: User
) -> None:
    named, open_ = server.world.supergroup("Named", ada), server.world.supergroup("Open", ada)
    groups = {"names": ["butler"], "always": [f"telegram:chat/{open_.id}"]}
    async with telegram_house(tmp_path, server, permissions=doors(ada), groups=groups) as h:
        named.say(ada, "nice weather")
        named.say(ada, "Butler, tea please")
        await h.answered(named, "You said: Ada: Butler, tea please")
        open_.say(ada, "nice weather")
        await h.answered(open_, "You said: Ada: nice weather")
