"""The commands: one table from which every face's menus, the help text and the dispatch are made.

Every effect is relative to the command's parent, which the store resolved once: a command that is run again after a
crash does the same thing, not twice the thing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from bot import reading
from bot.config import Config, RemoteModelConfig
from bot.errors import NotAllowed
from bot.messages import (
    Action,
    ActionName,
    Author,
    Claim,
    Command,
    Event,
    File,
    Message,
    MessageState,
    Reply,
    Role,
    StoredMessage,
)
from bot.permissions import is_admin
from bot.ports import Removed, Store

_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_]{0,31})(?:@\w+)?(?:\s+(.*))?", re.DOTALL)
"""A name has at most 32 characters on Telegram and on Discord; what is longer is a text."""
HISTORY_SHOWN = 20
"""Messages that /history shows: about a screen."""
MAX_DIGITS = 18
"""Of a message's number: what a 64-bit id can have."""
EXCERPT = 120
"""Characters of each that /history shows."""
MAX_DAYS = 36_500
"""Of retention: a hundred years."""
MAX_SYSTEM_PROMPT = 8000
"""Characters of a system prompt set by /system: above this a small model's window holds nothing else."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command as somebody typed it."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's result that is not a word but a new answer to an older question."""

    question: StoredMessage


@dataclass(frozen=True, slots=True)
class Context:
    """What a command may use."""

    claim: Claim
    store: Store
    config: Config
    models: Mapping[str, str]
    """Alias -> what it is, in words."""
    removed: Removed
    """Told of what a command has removed."""

    @property
    def admin(self) -> bool:
        """Whether the person who asks owns the bot."""
        return is_admin(self.config.permissions, self.claim.event.author, self.claim.event.key)

    @property
    def may_change(self) -> bool:
        """Who may change what others see: anybody in a private chat, owners elsewhere."""
        return self.claim.event.direct or self.admin


Result = Reply | Answer
Run = Callable[[Context, str], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table."""

    run: Run
    help: str
    argument: str = ""
    private: bool = False
    """The result is for the asker's eyes."""


def parse(text: str) -> Call | None:
    """A typed command, or None for ordinary text (`/etc/hosts is a file` is ordinary)."""
    match = _COMMAND.fullmatch(text.strip())
    return Call(match[1].lower(), (match[2] or "").strip()) if match else None


def as_action(event: Event) -> Event:
    """A /stop to this bot takes effect at once, so it is no message that waits in line."""
    if not isinstance(event, Message) or not (event.direct or event.addressed):
        return event
    if (call := parse(event.text)) and call.name == "stop":
        return Action(
            key=event.key, event_id=event.event_id, author=event.author, name=ActionName.STOP, sent_at=event.sent_at
        )
    return event


SPOKEN = {
    "new conversation": "new",
    "start a new conversation": "new",
    "new chat": "new",
    "start over": "new",
    "stop": "stop",
    "stop the answer": "stop",
    "try again": "retry",
    "answer again": "retry",
    "retry": "retry",
    "undo": "undo",
    "help": "help",
    "help me": "help",
    "show the history": "history",
    "change the model": "model",
    "neues gespräch": "new",
    "noch einmal": "retry",
    "hilfe": "help",
    "stopp": "stop",
}
"""What is a command if it is all that somebody says. What removes data has to be typed: a word can be misheard."""


def spoken(question: StoredMessage) -> Call | None:
    """The command that a voice message says, or None for what is to be answered."""
    if not question.attachments or any(item.speech is None for item in question.attachments):
        return None
    name = SPOKEN.get(" ".join(question.text.lower().strip(" .!?\n").split()))
    return Call(name, "") if name else None


async def run(context: Context, call: Call) -> Result:
    """Run a command. Raises NotAllowed and the store's errors."""
    entry = TABLE.get(call.name)
    if entry is None:
        return Reply(f"There is no command /{call.name}. /help lists them.")
    event = context.claim.event
    if entry.private and not (event.direct or event.can_reply_privately):
        return Reply(f"Please write /{call.name} to me in a private chat: its answer is for you alone.")
    result = await entry.run(context, call.argument)
    return replace(result, private=True) if isinstance(result, Reply) and entry.private else result


def menu() -> list[Command]:
    """The table as the platforms' menus show it."""
    return [Command(name=name, help=entry.help, argument=entry.argument) for name, entry in TABLE.items()]


async def _help(_: Context, __: str) -> Reply:
    lines = [f"/{name}{' ' + e.argument if e.argument else ''} - {e.help}" for name, e in TABLE.items()]
    return Reply("\n".join(lines))


async def _new(context: Context, _: str) -> Reply:
    _require(context)
    await context.store.set_head(context.claim.conversation.id, None)
    return Reply("A new conversation begins. What was said before is not in it.")


async def _retry(context: Context, _: str) -> Result:
    question = await _last_question(context)
    return Answer(question) if question else Reply("There is no question yet that I could answer again.")


async def _undo(context: Context, _: str) -> Reply:
    if context.claim.side_branch:
        return Reply("/undo takes back the last question. Please write it without replying to an older message.")
    question = await _last_question(context)
    if question is None:
        return Reply("There is nothing to take back.")
    own = question.author is not None and question.author.id == context.claim.event.author.id
    if not (own or context.may_change):
        raise NotAllowed("In a group you can take back your own question only.")
    await context.store.set_head(context.claim.conversation.id, question.parent)
    return Reply(f"Taken back: {_excerpt(reading.summary(question))}")


async def _stop(_: Context, __: str) -> Reply:
    return Reply("There is nothing to stop.")


async def _model(context: Context, argument: str) -> Reply:
    settings = context.claim.conversation.settings
    if not argument:
        persona = context.config.personas.get(settings.persona or "default")
        current = settings.model or (persona and persona.model) or "default"
        rows = [f"{'*' if name == current else '-'} {name}: {what}" for name, what in context.models.items()]
        return Reply("\n".join([*rows, "", "/model NAME changes it."]))
    if argument not in context.models:
        return Reply(f"There is no model {_excerpt(argument)!r}. There are: {', '.join(context.models)}.")
    _require(context)
    await context.store.set_settings(context.claim.conversation.id, replace(settings, model=argument))
    return Reply(f"This conversation now uses the model {argument}.")


async def _persona(context: Context, argument: str) -> Reply:
    settings, personas = context.claim.conversation.settings, context.config.personas
    if not argument:
        current = settings.persona or "default"
        rows = [
            f"{'*' if n == current else '-'} {n}: {p.description or _excerpt(p.system)}" for n, p in personas.items()
        ]
        return Reply("\n".join([*rows, "", "/persona NAME changes it."]))
    if argument not in personas:
        return Reply(f"There is no persona {_excerpt(argument)!r}. There are: {', '.join(personas)}.")
    _require(context)
    changed = replace(settings, persona=argument, system_prompt=None)
    await context.store.set_settings(context.claim.conversation.id, changed)
    return Reply(f"From now on I am the persona {argument} here.")


async def _system(context: Context, argument: str) -> Reply:
    settings = context.claim.conversation.settings
    if not argument:
        persona = context.config.personas.get(settings.persona or "default", context.config.personas["default"])
        return Reply(
            f"{settings.system_prompt or persona.system}\n\n/system TEXT sets it, /system reset takes it back."
        )
    if len(argument) > MAX_SYSTEM_PROMPT:
        return Reply(f"A system prompt has at most {MAX_SYSTEM_PROMPT} characters; this one has {len(argument)}.")
    _require(context)
    prompt = None if argument == "reset" else argument
    await context.store.set_settings(context.claim.conversation.id, replace(settings, system_prompt=prompt))
    return Reply("The system prompt is the persona's again." if prompt is None else "The system prompt is set.")


async def _history(context: Context, _: str) -> Reply:
    line = (await _line(context))[-HISTORY_SHOWN:]
    rows = [f"{m.id} {m.author.name if m.author else m.role}: {_excerpt(reading.summary(m))}" for m in line]
    return Reply("\n".join(rows) if rows else "This conversation is empty.")


async def _transcript(context: Context, _: str) -> Reply:
    if context.config.chat.transcripts == "never":
        return Reply("This bot does not show what it hears.")
    heard = next((quote for m in reversed(await _line(context)) if (quote := reading.quote(m))), "")
    return Reply(heard or "There is no voice message in this conversation that I have heard.")


async def _usage(context: Context, _: str) -> Reply:
    event = context.claim.event
    days = await context.store.usage(platform=event.key.platform, author=event.author.id)
    rows = [
        f"{d['day']} {d['model']}: {d['messages']} messages, {d['prompt_tokens']} tokens read "
        f"({d['cached_tokens']} from the cache), {d['completion_tokens']} written"
        for d in days[:HISTORY_SHOWN]
    ]
    return Reply("\n".join(rows) if rows else "You have used nothing yet.")


async def _export(context: Context, _: str) -> Reply:
    event = context.claim.event
    exported = await context.store.export(event.key.platform, event.author.id)
    data = await asyncio.to_thread(json.dumps, exported.data, ensure_ascii=False, indent=2)
    file = File("hearth-export.json", "application/json", data.encode())
    return Reply("This is everything that I have of you.", (file,))


async def _forget(context: Context, argument: str) -> Reply:
    target = await _target(context, argument)
    if target is None:
        return Reply(
            "I find no such message. Reply to one with /forget, or write /forget and its number from /history."
        )
    author = target.author or await _asker(context, target)
    if not (context.admin or context.claim.event.direct or (author and author.id == context.claim.event.author.id)):
        raise NotAllowed("You can make me forget your own messages and my answers to them.")
    gone = await context.store.forget_message(target.id)
    context.removed(gone)
    return Reply(f"Forgotten: {gone.messages} message{'s' if gone.messages != 1 else ''}.")


async def _forgetme(context: Context, _: str) -> Reply:
    event = context.claim.event
    gone = await context.store.forget_person(event.key.platform, event.author.id, but=context.claim.id)
    context.removed(gone)
    return Reply(f"Everything of yours is removed: {gone.messages} messages and answers. I do not know you any more.")


async def _privacy(context: Context, argument: str) -> Reply:
    settings, usual = context.claim.conversation.settings, context.config.retention.days
    if not argument:
        days = usual if settings.retention_days is None else settings.retention_days
        return Reply(
            f"Messages here and my answers {_kept(days)}. They are in a database on the machine of this bot's owner, "
            f"{_where(context)}. /privacy DAYS changes how long they are kept here, /privacy default takes "
            "that back. /export gives you everything, /forget removes a message, /forgetme removes everything of yours."
        )
    if argument != "default" and not (_is_number(argument) and int(argument) <= MAX_DAYS):
        return Reply(f"A number of days from 0 to {MAX_DAYS}, please, or /privacy default for the usual {usual}.")
    _require(context)
    own = None if argument == "default" else int(argument)
    await context.store.set_settings(context.claim.conversation.id, replace(settings, retention_days=own))
    return Reply(f"From now on messages here and my answers {_kept(usual if own is None else own)}.")


def _where(context: Context) -> str:
    """Who else sees what is written here: a person is to know that before they write it."""
    settings, personas = context.claim.conversation.settings, context.config.personas
    persona = personas.get(settings.persona or "default", personas["default"])
    model = context.config.models.get(settings.model or persona.model or "default", context.config.models["default"])
    if isinstance(model, RemoteModelConfig) and model.leaves_machine:
        return "and go to another server, which the owner chose, where the model runs"
    return "and the model runs there too"


def _kept(days: int) -> str:
    unit = "day" if days == 1 else "days"
    return f"are kept for {days} {unit} and then removed" if days else "are not kept: they go when the answer is there"


def _is_number(argument: str) -> bool:
    return argument.isdecimal() and len(argument) <= MAX_DIGITS


async def _line(context: Context) -> list[StoredMessage]:
    """The current line as it was when the command was dispatched: the command itself is not on it."""
    return await context.store.history(context.claim.question.parent)


async def _target(context: Context, argument: str) -> StoredMessage | None:
    event = context.claim.event
    if _is_number(argument):
        return next((m for m in await _line(context) if m.id == int(argument)), None)
    if event.reply_to is not None:
        return await context.store.find_sent(event.key, event.reply_to)
    return None


async def _asker(context: Context, answer: StoredMessage) -> Author | None:
    path = await context.store.history(answer.parent)
    return path[-1].author if path else None


def _require(context: Context) -> None:
    if not context.may_change:
        raise NotAllowed("In a group only the bot's owners may change that.")


async def _last_question(context: Context) -> StoredMessage | None:
    """The line's last question, answered or not. Where group talk is kept only an answered one is surely a question."""
    talk = context.config.chat.remember_group_talk and not context.claim.event.direct
    asked = [m for m in await _line(context) if m.role is Role.USER]
    return next((m for m in reversed(asked) if not talk or m.state is MessageState.ANSWERED), None)


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


TABLE: dict[str, Entry] = {
    "help": Entry(_help, "lists the commands"),
    "new": Entry(_new, "starts a new conversation"),
    "retry": Entry(_retry, "answers the last question again"),
    "undo": Entry(_undo, "takes back the last question and its answer"),
    "stop": Entry(_stop, "stops the answer"),
    "model": Entry(_model, "shows or changes the model", "[NAME]"),
    "persona": Entry(_persona, "shows or changes the persona", "[NAME]"),
    "system": Entry(_system, "shows or sets the system prompt", "[TEXT]"),
    "history": Entry(_history, "shows the conversation"),
    "transcript": Entry(_transcript, "shows what I heard in the last voice message"),
    "usage": Entry(_usage, "shows the tokens you have used", private=True),
    "export": Entry(_export, "gives you all your data", private=True),
    "forget": Entry(_forget, "removes a message (reply to it, or give its number)", "[NUMBER]"),
    "forgetme": Entry(_forgetme, "removes everything about you, at once"),
    "privacy": Entry(_privacy, "says what is stored and for how long, or sets it", "[DAYS]"),
}
