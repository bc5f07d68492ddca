"""`hearth check telegram`: token, updates, privacy mode and rights, as Telegram tells them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.look import Finding, Named
from adapters.telegram.look import look
from bot.check import inspect
from bot.config import TelegramConfig
from tests.telegram import TelegramServer, serving
from tests.telegram_house import telegram_config


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=True) as running:
        yield running


def config(server: TelegramServer, **more: object) -> TelegramConfig:
    return TelegramConfig.model_validate({"token": server.token, "api_base": server.url, **more})


async def seen(server: TelegramServer, *chats: str, hears_all: bool = False, **more: object) -> dict[str, Finding]:
    return {row.what: row for row in await look(config(server, **more), Named(chats=chats, hears_all=hears_all))}


async def test_a_good_token(server: TelegramServer) -> None:
    rows = await seen(server)
    assert rows["Telegram"] == Finding("Telegram", True, "the token is @hearth_bot's")
    assert rows["Telegram updates"].words == "are asked for, 0 updates wait"


async def test_a_token_that_is_refused_is_not_shown(server: TelegramServer) -> None:
    rows = await seen(server, token=f"{server.world.bot.id}:{'x' * 35}")
    assert not rows["Telegram"].good
    assert "BotFather" in rows["Telegram"].words
    assert "xxx" not in rows["Telegram"].words


async def test_telegram_does_not_answer() -> None:
    away = TelegramConfig.model_validate({"token": "1:" + "a" * 35, "api_base": "http://127.0.0.1:9"})
    (row,) = await look(away, Named())
    assert (row.good, row.words) == (False, "http://127.0.0.1:9 does not answer (NetworkError)")


async def test_privacy_mode_is_explained_and_wrong_only_where_it_matters(server: TelegramServer) -> None:
    modest, curious = await seen(server), await seen(server, hears_all=True)
    assert modest["Telegram groups"].good
    assert "/setprivacy" in modest["Telegram groups"].words
    assert not curious["Telegram groups"].good
    server.world.scene.privacy = False
    assert (await seen(server, hears_all=True))["Telegram groups"].good


async def test_a_webhook_that_fails_and_one_that_is_not_set_yet(server: TelegramServer) -> None:
    url = "http://127.0.0.1:9/telegram"
    assert "from the next start on" in (await seen(server, webhook_url=url))["Telegram updates"].words
    await server.webhook.set(url, "", 1)
    ada = server.world.user("Ada")
    server.world.private(ada).say(ada, "hello")
    await server.wait_for(lambda: server.webhook.deliveries, "a try")
    row = (await seen(server, webhook_url=url))["Telegram updates"]
    assert not row.good
    assert "1 updates wait" in row.words
    assert "127.0.0.1 is removed at the next start" in (await seen(server))["Telegram updates"].words


async def test_the_groups_of_the_configuration(server: TelegramServer) -> None:
    ada = server.world.user("Ada")
    there, gone = server.world.supergroup("Friends", ada), server.world.supergroup("Others", ada)
    gone.kick_bot(ada)
    rows = await seen(server, str(there.id), str(gone.id), "-1009", "friends")
    assert rows[f"Telegram chat {there.id}"] == Finding(
        f"Telegram chat {there.id}", True, "Friends; the bot is a member"
    )
    assert [rows[f"Telegram chat {chat}"].good for chat in (gone.id, -1009, "friends")] == [False] * 3
    there.promote_bot(ada)
    assert "every message" in (await seen(server, str(there.id)))[f"Telegram chat {there.id}"].words


async def test_check_asks_about_what_the_configuration_names(tmp_path: Path, server: TelegramServer) -> None:
    ada = server.world.user("Ada")
    chat = server.world.supergroup("Friends", ada)
    allowed = {"allow": [f"telegram:chat/{chat.id}"]}
    found = {row.what: row for row in await inspect(telegram_config(tmp_path, server, permissions=allowed))}
    assert found[f"Telegram chat {chat.id}"].good
    assert found["Telegram groups"].good
    for more in ({"groups": {"names": ["hearth"]}}, {"chat": {"remember_group_talk": True}}):
        curious = telegram_config(tmp_path, server, **more)
        assert not {row.what: row for row in await inspect(curious)}["Telegram groups"].good
