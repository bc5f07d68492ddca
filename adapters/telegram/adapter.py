"""The Adapter of one Telegram bot: the platform's own calls, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from telegram import (
    BotCommand,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
)
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, ChatMigrated, InvalidToken, RetryAfter, TelegramError

from adapters.delivery.pacing import Slot
from adapters.telegram.addressing import Me
from adapters.telegram.client import (
    CALL_SECONDS,
    NO_TEXT,
    NO_THREAD,
    NOT_MODIFIED,
    UPLOAD_SECONDS,
    as_platform_errors,
    call,
    make_bot,
    seconds_of,
)
from adapters.telegram.intake import Intake
from adapters.telegram.polling import REST_LEAST, REST_MOST, Poller
from adapters.telegram.updates import KINDS, PLATFORM
from adapters.telegram.webhook import Webhook, secret_of
from adapters.text.telegram import telegram_html, telegram_length
from bot.config import TelegramConfig
from bot.errors import DatabaseError, FloodWait, MessageGone, PlatformError, StartError, TooLarge
from bot.messages import (
    Attachment,
    Button,
    Command,
    ConversationKey,
    Destination,
    File,
    Limits,
    MessageRef,
    Outgoing,
    Preview,
    Typing,
)
from bot.ports import Receive

log = structlog.get_logger(__name__)

T = TypeVar("T")

LONGEST_TEXT = 4096
"""UTF-16 units, after the entities are parsed."""
LONGEST_CAPTION = 1024
BURST = 3
"""Calls that a chat takes at once after a rest: a placeholder, and what follows when the answer is short."""
FILE_BYTES = 20 * 2**20
"""The most that Telegram's own server gives a bot of a file; a server of one's own gives more."""
OWN_SERVER_BYTES = 512 * 2**20
OFFICIAL = "https://api.telegram.org"
DRAFT_SECONDS = 3.0
"""A draft that takes longer is not waited for: the final text must not come behind it."""
LONGEST_HELP = 256
"""Characters of a command's description in the menu."""
MOVED = 1000
"""Chats that are remembered by their old id, for answers that were begun there."""
WIDE = "choose:"
"""Buttons that begin so are choices, each on a line of its own."""


class Telegram:
    """Implements bot.ports.Adapter. Belongs to one event loop."""

    name = PLATFORM

    def __init__(self, config: TelegramConfig, *, file_bytes: int | None = None) -> None:
        """`file_bytes`: the most that is loaded of a file, if that is not what the server gives."""
        self._config = config
        self._file_bytes = file_bytes or (FILE_BYTES if config.api_base == OFFICIAL else OWN_SERVER_BYTES)
        self._bot = make_bot(config.token.get_secret_value(), config.api_base)
        self.account = config.account
        self._me = Me(int(self.account), "")
        self._intake = Intake(self._bot, lambda: self._me, self.account)
        self._commands: Sequence[Command] = ()
        self._connected = False
        self._limits = Limits(
            text=LONGEST_TEXT,
            measure=telegram_length,
            seconds_per_call=config.private_pace,
            group_seconds_per_call=config.group_pace,
            burst=BURST,
            previews=True,
            buttons=True,
            files=True,
            code_files=True,
            file_bytes=self._file_bytes,
        )
        self._moved: dict[str, str] = {}
        # Of all chats together; each chat's own pace is delivery's.
        every = Limits(text=1, seconds_per_call=1 / config.calls_per_second, burst=round(config.calls_per_second))
        self._pace = Slot(every, asyncio.get_running_loop().time, asyncio.sleep)
        self.webhook = Webhook(config, self._intake) if config.webhook_url else None

    @property
    def limits(self) -> Limits:
        """Without previews once Telegram has refused one."""
        return self._limits

    async def listen(self, receive: Receive) -> None:
        """Hear updates until cancelled. Raises StartError for a token that was never good, and DatabaseError."""
        try:
            await self._connect()
            menus = asyncio.create_task(self._show_menus())
            try:
                if self.webhook is not None:
                    await self._hear_by_webhook(self.webhook, receive)
                else:
                    await self._until_done(self._bot.delete_webhook)
                    await Poller(self._bot, self._intake).run(receive)
            finally:
                menus.cancel()
        except DatabaseError:  # it listens again in a moment
            raise
        except (asyncio.CancelledError, StartError):  # the process ends
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._bot.request.shutdown()

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Send one message; more than one file, or files with a long text, are messages beside it."""
        common = self._place(to.key) | {"reply_parameters": _reply(to), "reply_markup": _keyboard(what.buttons)}
        files = list(what.files)
        if not files:
            return await self._sent(to.key, common, what)
        caption = _caption(what)
        if what.text and telegram_length(what.text) > LONGEST_CAPTION:
            sent = await self._sent(to.key, common, what)
            caption = {}
        else:
            sent = await self._document(to.key, files.pop(0), common | caption)
        for file in files:
            await self._document(to.key, file, self._place(to.key))
        return sent

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Change a message's text and buttons. A file cannot become a text."""
        where: dict[str, Any] = {"chat_id": self._chat(message.key), "message_id": int(message.message_id)}
        where["reply_markup"] = _keyboard(what.buttons)
        try:
            await self._call(message.key, "editMessageText", where, _message(what))
        except PlatformError as error:
            if NO_TEXT not in str(error).lower():
                raise
            await self.delete(message)
            raise MessageGone("a file stood in its place") from error

    async def delete(self, message: MessageRef) -> None:
        """Remove a message; Telegram lets bots do that for 48 hours."""
        where = {"chat_id": self._chat(message.key), "message_id": int(message.message_id)}
        try:
            await self._call(message.key, "deleteMessage", where)
        except MessageGone:
            return

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """The typing sign, or a draft of the answer in a private chat."""
        try:
            if isinstance(sign, Typing):
                with as_platform_errors():
                    await call(self._bot, "sendChatAction", **self._place(to.key), action=ChatAction.TYPING)
                return
            draft = {"draft_id": _draft(to), **_text(sign.text)}
            await self._call(to.key, "sendMessageDraft", self._place(to.key), draft, seconds=DRAFT_SECONDS)
        except FloodWait:
            raise
        except PlatformError as error:
            # Not an outage, nor what is about this text or this chat: the server does not have drafts.
            if isinstance(sign, Preview) and _is_refused(error):
                log.warning("previews are refused; answers are edited from now on", reason=str(error))
                self._limits = replace(self._limits, previews=False)
            log.debug("a sign of life was not shown", error=type(error).__name__)

    async def fetch(self, attachment: Attachment) -> bytes:
        """Load a file: its path is asked for anew each time, for it is good for an hour."""
        most = self._file_bytes
        try:
            with as_platform_errors():
                file = await self._bot.get_file(attachment.reference)
        except PlatformError as error:
            raise _unfetched(error, most) from error
        if (file.file_size or 0) > most:
            raise TooLarge(most)
        try:
            with as_platform_errors():
                data = bytes(await file.download_as_bytearray(read_timeout=UPLOAD_SECONDS))
        except PlatformError as error:
            raise MessageGone("the file is no longer there") if _is_refused(error) else error from error
        if len(data) > most:
            raise TooLarge(most)
        return data

    async def publish(self, commands: Sequence[Command]) -> None:
        """The menus of private chats and of groups, in every language that there is."""
        self._commands = tuple(commands)
        bringing = frozenset(command.name for command in commands if command.brings_files)
        self._me = Me(self._me.id, self._me.username, frozenset(command.name for command in commands), bringing)
        if self._connected:
            await self._show_menus()

    async def _connect(self) -> None:
        """Learn who the bot is. Raises StartError for a token that was never good."""
        if self._connected:
            return
        try:
            me = await self._until_done(self._bot.get_me)
        except InvalidToken as error:
            raise StartError(
                "Telegram refuses the token. BotFather (https://t.me/BotFather) shows the right one (telegram.token)."
            ) from error
        self._me = replace(self._me, id=me.id, username=me.username or "")
        self._connected = True
        log.info("Telegram is connected", bot=f"@{me.username}", way="webhook" if self.webhook else "polling")

    async def _until_done(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until Telegram answers. Raises BadRequest and InvalidToken: that will not change."""
        rest = REST_LEAST
        while True:
            try:
                return await call()
            except (BadRequest, InvalidToken):
                raise
            except TelegramError as error:
                wait = seconds_of(error.retry_after) if isinstance(error, RetryAfter) else rest
                log.warning("Telegram does not answer", error=type(error).__name__, seconds=wait)
                await asyncio.sleep(wait)
                rest = min(rest * 2, REST_MOST)

    async def _hear_by_webhook(self, webhook: Webhook, receive: Receive) -> None:
        """Telegram is told where to bring updates once there is somebody who takes them."""
        how: dict[str, Any] = {
            "secret_token": secret_of(self._config),
            "allowed_updates": list(KINDS),
            "max_connections": 1,  # one after the other: so they come in order
        }
        async with webhook.serving(receive):
            try:
                await self._until_done(lambda: self._bot.set_webhook(self._config.webhook_url, **how))
            except BadRequest as error:
                raise StartError(f"Telegram refuses telegram.webhook_url: {error.message}") from error
            await asyncio.Event().wait()

    async def _show_menus(self) -> None:
        """What cannot be shown now is shown at the next start: the commands work without a menu."""
        languages = sorted({language for command in self._commands for language in command.translations})
        private, group = self._commands, [command for command in self._commands if not command.private]
        scopes = ((BotCommandScopeAllPrivateChats(), private), (BotCommandScopeAllGroupChats(), group))
        try:
            for scope, commands in scopes:
                for language in ("", *languages):
                    rows = [BotCommand(c.name, _help(c, language)) for c in commands]
                    await self._bot.set_my_commands(rows, scope=scope, language_code=language or None)
        except TelegramError as error:
            log.warning("the command menus could not be set", error=type(error).__name__)

    async def _sent(self, key: ConversationKey, place: dict[str, Any], what: Outgoing) -> MessageRef:
        sent = await self._call(key, "sendMessage", place, _message(what))
        return MessageRef(key, str(sent["message_id"]))

    async def _document(self, key: ConversationKey, file: File, place: dict[str, Any]) -> MessageRef:
        sent = await self._work(
            key,
            lambda where: self._bot.send_document(**where, document=file.data, filename=file.name),
            place,
        )
        return MessageRef(key, str(sent.message_id))

    async def _call(
        self,
        key: ConversationKey,
        method: str,
        place: dict[str, Any],
        what: Mapping[str, Any] | None = None,
        *,
        seconds: float = CALL_SECONDS,
    ) -> Any:
        """A method's result; see `_work`."""
        given = what or {}
        return await self._work(key, lambda where: call(self._bot, method, seconds=seconds, **where, **given), place)

    async def _work(
        self, key: ConversationKey, work: Callable[[dict[str, Any]], Awaitable[T]], place: dict[str, Any]
    ) -> T:
        """Call, once more where a chat has moved or a thread is not there. Raises PlatformError."""
        await self._pace.take()
        with as_platform_errors():
            try:
                return await work(place)
            except ChatMigrated as error:
                self._move(key.chat, str(error.new_chat_id))
                return await work(place | {"chat_id": error.new_chat_id})
            except BadRequest as error:
                words = error.message.lower()
                if NOT_MODIFIED in words:
                    return None  # type: ignore[return-value]  # of an edit, whose result nobody asks for
                if NO_THREAD not in words or "message_thread_id" not in place:
                    raise
                return await work({name: value for name, value in place.items() if name != "message_thread_id"})

    def _move(self, old: str, new: str) -> None:
        if len(self._moved) >= MOVED:
            self._moved.clear()
        self._moved[old] = new

    def _chat(self, key: ConversationKey) -> int:
        return int(self._moved.get(key.chat, key.chat))

    def _place(self, key: ConversationKey) -> dict[str, Any]:
        thread = {"message_thread_id": int(key.thread)} if key.thread else {}
        return {"chat_id": self._chat(key), **thread}


def _text(text: str, *, plain: bool = False) -> dict[str, Any]:
    return {"text": text} if plain else {"text": telegram_html(text), "parse_mode": ParseMode.HTML}


def _message(what: Outgoing) -> dict[str, Any]:
    """Links are not shown as cards: they would be taken for the answer."""
    return {**_text(what.text, plain=what.plain), "link_preview_options": {"is_disabled": True}}


def _caption(what: Outgoing) -> dict[str, Any]:
    made = _text(what.text, plain=what.plain) if what.text else {}
    return {("caption" if name == "text" else name): value for name, value in made.items()}


def _reply(to: Destination) -> dict[str, Any] | None:
    """In groups an answer shows its question; in a private chat it follows it anyway. Chats of persons have ids above 0."""
    if to.key.chat.startswith("-") and to.reply_to is not None and to.reply_to.isdecimal():
        return {"message_id": int(to.reply_to), "allow_sending_without_reply": True}
    return None


def _keyboard(buttons: Sequence[Button]) -> dict[str, Any] | None:
    if not buttons:
        return None
    row = [{"text": button.label, "callback_data": button.id} for button in buttons]
    wide = buttons[0].id.startswith(WIDE)
    return {"inline_keyboard": [[button] for button in row] if wide else [row]}


def _draft(to: Destination) -> int:
    """A draft's number must not be 0, and is kept while it changes: the question's does."""
    return int(to.reply_to) if to.reply_to is not None and to.reply_to.isdecimal() else 1


def _help(command: Command, language: str) -> str:
    return command.translations.get(language, command.help)[:LONGEST_HELP]


def _is_refused(error: PlatformError) -> bool:
    """Whether Telegram said no for another reason than those that have a name."""
    return type(error) is PlatformError


def _unfetched(error: PlatformError, most: int) -> PlatformError:
    words = str(error).lower()
    if "file is too big" in words:
        return TooLarge(most)
    gone = "file_id" in words or "file id" in words or "temporarily unavailable" in words
    return MessageGone(str(error)) if gone and _is_refused(error) else error
