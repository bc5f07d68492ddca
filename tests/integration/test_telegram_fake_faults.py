"""The Telegram stand-in makes the trouble that a test asks for, and no other."""

from __future__ import annotations

from datetime import timedelta

import pytest
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError, TimedOut

from tests.telegram import Limits
from tests.telegram.client import bot_on, talking


async def test_a_429_says_when_to_come_again_and_does_nothing() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        other = server.world.private(server.world.user("Bea"))
        fault = server.fail("sendMessage", "429", retry_after=7, times=2, chat=chat.id)
        for _ in range(2):
            with pytest.raises(RetryAfter) as caught:
                await bot.send_message(chat.id, "a")
            assert caught.value.retry_after == timedelta(seconds=7)
            await bot.send_message(other.id, "a")
        await bot.send_message(chat.id, "b")
        assert chat.texts_of_bot() == ["b"]
        assert fault.happened == 2


@pytest.mark.parametrize("kind", ["500", "502"])
async def test_a_proxys_page_comes_in_place_of_an_answer(kind: str) -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        server.fail("sendMessage", kind)  # type: ignore[arg-type]
        with pytest.raises(TelegramError):
            await bot.send_message(chat.id, "a")
        assert chat.messages == []
        assert [call.ok for call in server.calls] == [False]


async def test_a_connection_can_end_before_anything_is_done() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        server.fail("sendMessage", "drop")
        with pytest.raises(NetworkError):
            await bot.send_message(chat.id, "a")
        assert chat.messages == []
        await bot.send_message(chat.id, "b")


async def test_an_acknowledgement_can_be_lost() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        server.fail("sendMessage", "lost")
        with pytest.raises(NetworkError):
            await bot.send_message(chat.id, "a")
        assert chat.texts_of_bot() == ["a"]


async def test_an_answer_can_come_too_late() -> None:
    async with talking() as (server, _), bot_on(server, patience=0.2) as hasty:
        chat = server.world.private(server.world.user("Ada"))
        server.fail("sendMessage", "hang", seconds=3600)
        with pytest.raises(TimedOut):
            await hasty.send_message(chat.id, "a")
        assert chat.texts_of_bot() == ["a"]


async def test_an_answer_can_be_garbage() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        server.fail("sendMessage", "garbage")
        with pytest.raises(TelegramError):
            await bot.send_message(chat.id, "a")
        assert chat.texts_of_bot() == ["a"]


async def test_a_call_can_be_refused_in_any_words() -> None:
    async with talking() as (server, bot):
        chat = server.world.private(server.world.user("Ada"))
        server.fail("sendMessageDraft", "refuse", description="Bad Request: METHOD_INVALID")
        with pytest.raises(BadRequest, match=r"(?i)method_invalid"):
            await bot.send_message_draft(chat.id, 1, "a")
        assert chat.drafts == []


async def test_getting_updates_can_fail_and_nothing_is_lost() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        server.world.private(ada).say(ada, "hello")
        for kind in ("lost", "502"):
            server.fail("getUpdates", kind)
            with pytest.raises(NetworkError):
                await bot.get_updates()
        assert len(await bot.get_updates()) == 1


async def test_a_download_can_fail() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        server.world.private(ada).document(ada, b"words", file_name="a.txt")
        [update] = await bot.get_updates()
        assert update.message is not None
        assert update.message.document is not None
        file = await bot.get_file(update.message.document.file_id)
        server.fail("file", "drop")
        with pytest.raises(NetworkError):
            await file.download_as_bytearray()
        assert bytes(await file.download_as_bytearray()) == b"words"


async def test_any_method_can_be_the_one_that_fails() -> None:
    async with talking() as (server, bot):
        server.fail("*", "502")
        with pytest.raises(NetworkError):
            await bot.get_me()
        await bot.get_me()


async def test_a_chat_takes_a_burst_and_then_one_a_second_edits_included() -> None:
    async with talking() as (server, bot):
        chat, other = (server.world.private(server.world.user(name)) for name in ("Ada", "Bea"))
        server.flood.enable(Limits(burst=3, penalty=5))
        await bot.send_message(chat.id, "a")
        await bot.edit_message_text("b", chat.id, 1)
        await bot.edit_message_text("c", chat.id, 1)
        with pytest.raises(RetryAfter):
            await bot.edit_message_text("d", chat.id, 1)
        await bot.send_message(other.id, "a")
        server.world.scene.pass_(2)
        with pytest.raises(RetryAfter):
            await bot.edit_message_text("d", chat.id, 1)
        server.world.scene.pass_(10)
        await bot.edit_message_text("d", chat.id, 1)
        assert [(method, where) for method, where, _ in server.flood.refused] == [("editMessageText", chat.id)] * 2


async def test_a_group_takes_twenty_a_minute() -> None:
    async with talking() as (server, bot):
        group = server.world.supergroup("Club", server.world.user("Ada"))
        server.flood.enable()
        for number in range(20):
            await bot.send_message(group.id, str(number))
            server.world.scene.pass_(1.5)
        with pytest.raises(RetryAfter):
            await bot.send_message(group.id, "21")
        server.world.scene.pass_(60)
        await bot.send_message(group.id, "21")


async def test_all_chats_together_take_thirty_a_second() -> None:
    async with talking() as (server, bot):
        chats = [server.world.private(server.world.user(f"U{number}")) for number in range(31)]
        server.flood.enable(Limits(overall=30))
        server.world.scene.now = lambda: 1e9  # type: ignore[method-assign]
        for chat in chats[:30]:
            await bot.send_message(chat.id, "a")
        with pytest.raises(RetryAfter):
            await bot.send_message(chats[30].id, "a")
