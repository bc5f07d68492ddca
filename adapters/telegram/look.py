"""A look at a bot through Telegram's eyes, for `hearth check`: token, webhook, privacy mode, rights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from telegram import Bot, ChatMember, ChatMemberRestricted, User
from telegram.error import Forbidden, InvalidToken, TelegramError

from adapters.look import Finding, Named
from adapters.telegram.client import make_bot
from bot.config import TelegramConfig

RECENT = timedelta(hours=1)
"""An older failure of the webhook says nothing of now."""
PRIVACY = (
    "privacy mode is on: in groups it is told of commands, mentions and replies to it alone. For groups.names, groups.always "
    "and chat.remember_group_talk turn it off: @BotFather, /setprivacy, then remove the bot from the group and add it again"
)


async def look(config: TelegramConfig, named: Named) -> list[Finding]:
    """Of a bot that has a token. `named`: what the whole configuration counts on."""
    bot = make_bot(config.token.get_secret_value(), config.api_base)
    try:
        try:
            me = await bot.get_me()
        except InvalidToken:
            return [Finding("Telegram", False, "refuses the token; @BotFather shows the right one (telegram.token)")]
        except TelegramError as error:
            return [Finding("Telegram", False, f"{config.api_base} does not answer ({type(error).__name__})")]
        found = [Finding("Telegram", True, f"the token is @{me.username}'s"), await _way(bot, config)]
        found.append(_groups(me, hears_all=named.hears_all))
        return [*found, *[await _chat(bot, me, chat) for chat in named.chats]]
    finally:
        await bot.request.shutdown()


async def _way(bot: Bot, config: TelegramConfig) -> Finding:
    try:
        info = await bot.get_webhook_info()
    except TelegramError as error:
        return Finding("Telegram updates", False, f"the webhook cannot be looked at ({type(error).__name__})")
    waiting = f"{info.pending_update_count} updates wait"
    host = urlsplit(info.url).hostname if info.url else ""
    if not config.webhook_url:
        words = f"; the webhook at {host} is removed at the next start" if host else ""
        return Finding("Telegram updates", True, f"are asked for, {waiting}{words}")
    if info.url != config.webhook_url:
        return Finding("Telegram updates", True, f"will come to {config.webhook_url} from the next start on, {waiting}")
    failed = info.last_error_date is not None and datetime.now(UTC) - info.last_error_date < RECENT
    if failed:
        return Finding("Telegram updates", False, f"{config.webhook_url} failed: {info.last_error_message}; {waiting}")
    return Finding("Telegram updates", True, f"come to {config.webhook_url}, {waiting}")


def _groups(me: User, *, hears_all: bool) -> Finding:
    if not me.can_join_groups:
        return Finding("Telegram groups", True, "the bot cannot be added to groups (@BotFather, /setjoingroups)")
    if me.can_read_all_group_messages:
        return Finding("Telegram groups", True, "privacy mode is off: it is told of every message")
    return Finding("Telegram groups", not hears_all, PRIVACY)


async def _chat(bot: Bot, me: User, chat: str) -> Finding:
    what = f"Telegram chat {chat}"
    try:
        seen, member = await bot.get_chat(int(chat)), await bot.get_chat_member(int(chat), me.id)
    except ValueError:
        return Finding(what, False, "a chat's id is a number, such as -1001234567890")
    except Forbidden:
        return Finding(what, False, "the bot was removed from it")
    except TelegramError as error:
        return Finding(what, False, f"is not there, or the bot is not in it ({error.message})")
    name = seen.title or seen.full_name or chat
    if member.status in {ChatMember.LEFT, ChatMember.BANNED}:
        return Finding(what, False, f"the bot is not in {name}")
    if isinstance(member, ChatMemberRestricted) and not member.can_send_messages:
        return Finding(what, False, f"the bot may not write in {name}")
    admin = member.status in {ChatMember.ADMINISTRATOR, ChatMember.OWNER}
    return Finding(
        what, True, f"{name}; the bot is {'an administrator, who is told of every message' if admin else 'a member'}"
    )
