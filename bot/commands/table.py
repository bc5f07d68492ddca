"""The table, and what is made of it: the dispatch, the platforms' menus, the help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bot.commands import data, guild, settings, talk
from bot.commands.calling import Call
from bot.commands.context import Context, Entry, Result
from bot.config import Config
from bot.messages import Command, Reply


async def run(context: Context, call: Call) -> Result:
    """Run a command. Raises NotAllowed and the store's errors."""
    entry = TABLE.get(call.name)
    if entry is None:
        return Reply(f"There is no command /{call.name}. /help lists them.")
    event = context.claim.event
    if entry.private and not (event.direct or event.can_reply_privately):
        return Reply(f"Please write /{call.name} to me in a private chat: its answer is for you alone.")
    result = await entry.run(context, call.argument)
    hidden = entry.private or (entry.discreet and event.can_reply_privately)
    return replace(result, private=True) if isinstance(result, Reply) and hidden else result


def menu(config: Callable[[], Config] | None = None, *, guilds: bool = False) -> list[Command]:
    """The table as the platforms' menus show it.

    `config`: the present one, from which suggestions come. `guilds`: where there are some (`Limits.guilds`).
    """
    rows = [(name, entry) for name, entry in TABLE.items() if not entry.hidden and (guilds or not entry.manages)]
    return [_shown(name, entry, config) for name, entry in rows]


def _shown(name: str, entry: Entry, config: Callable[[], Config] | None) -> Command:
    suggest = entry.suggest
    return Command(
        name=name,
        help=entry.help,
        argument=entry.argument,
        changes=entry.changes,
        translations={"de": entry.german},
        private=entry.private,
        on_message=bool(entry.menu_title),
        menu_title=entry.menu_title,
        brings_files=entry.brings_files,
        manages=entry.manages,
        discreet=entry.discreet,
        suggestions=None if suggest is None or config is None else lambda: list(suggest(config())),
    )


async def _help(context: Context, _: str) -> Reply:
    manages = context.guild is not None and context.may_change
    rows = [f"/{c.name}{' ' + c.argument if c.argument else ''} - {c.help}" for c in menu(guilds=manages)]
    return Reply("\n".join(rows))


TABLE: dict[str, Entry] = {
    "start": Entry(settings.start, "greets you", "begrüßt dich", hidden=True),
    "help": Entry(_help, "lists the commands", "zeigt die Befehle"),
    "new": Entry(talk.new, "starts a new conversation", "beginnt ein neues Gespräch", changes=True),
    "retry": Entry(talk.retry, "answers the last question again", "beantwortet die letzte Frage noch einmal"),
    "undo": Entry(
        talk.undo,
        "takes back the last question and its answer",
        "nimmt die letzte Frage und ihre Antwort zurück",
    ),
    "stop": Entry(talk.stop, "stops the answer", "bricht die Antwort ab"),
    "settings": Entry(
        settings.settings,
        "shows the settings of this conversation, with buttons that change them",
        "zeigt die Einstellungen dieses Gesprächs, mit Knöpfen dafür",
        changes=True,
    ),
    "server": Entry(
        guild.server,
        "shows or changes what holds for this whole server",
        "zeigt oder ändert, was auf diesem ganzen Server gilt",
        "[SETTING VALUE]",
        changes=True,
        manages=True,
        suggest=guild.suggestions,
    ),
    "model": Entry(
        settings.model,
        "shows or changes the model",
        "zeigt oder wechselt das Modell",
        "[NAME]",
        changes=True,
        suggest=lambda config: config.models,
    ),
    "persona": Entry(
        settings.persona,
        "shows or changes the persona",
        "zeigt oder wechselt die Persona",
        "[NAME]",
        changes=True,
        suggest=lambda config: config.personas,
    ),
    "system": Entry(
        settings.system, "shows or sets the system prompt", "zeigt oder setzt den Systemprompt", "[TEXT]", changes=True
    ),
    "continue": Entry(
        talk.go_on,
        "goes on from an older message (reply to it, or give its number)",
        "führt das Gespräch ab einer älteren Nachricht fort (antworte auf sie, oder nenne ihre Nummer)",
        "[NUMBER]",
        menu_title="Continue from here",
    ),
    "summarise": Entry(
        talk.summarise,
        "summarises the conversation, up to a message if you reply to it",
        "fasst das Gespräch zusammen, bis zu einer Nachricht, wenn du auf sie antwortest",
        "[HOW]",
        menu_title="Summarise up to here",
    ),
    "history": Entry(talk.history, "shows the conversation", "zeigt das Gespräch"),
    "transcript": Entry(
        talk.transcript,
        "shows what I heard in the last voice message",
        "zeigt, was ich in der letzten Sprachnachricht gehört habe",
    ),
    "transcribe": Entry(
        talk.transcribe,
        "shows what is said in a recording (reply to it)",
        "zeigt, was in einer Aufnahme gesagt wird (antworte auf sie)",
        menu_title="Transcribe",
        brings_files=True,
    ),
    "transcripts": Entry(
        settings.transcripts,
        "shows or sets whether what I hear stands above the answer",
        "zeigt oder setzt, ob das Gehörte über der Antwort steht",
        "[WHEN]",
        changes=True,
    ),
    "usage": Entry(
        data.usage, "shows the tokens you have used", "zeigt, wie viele Token du verbraucht hast", private=True
    ),
    "export": Entry(data.export, "gives you all your data", "gibt dir alle deine Daten", private=True),
    "forget": Entry(
        data.forget,
        "removes a message (reply to it, or give its number)",
        "löscht eine Nachricht (antworte auf sie, oder nenne ihre Nummer)",
        "[NUMBER]",
    ),
    "forgetme": Entry(
        data.forgetme,
        "removes everything about you, at once",
        "löscht sofort alles, was ich von dir habe",
        discreet=True,
    ),
    "privacy": Entry(
        settings.privacy,
        "says what is stored and for how long, or sets it",
        "sagt, was wie lange gespeichert wird, oder legt es fest",
        "[DAYS]",
        discreet=True,
    ),
}
