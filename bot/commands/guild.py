"""The command about a whole guild: what holds in its conversations, and what is answered there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from bot import guild_choices
from bot.choices import with_days, with_persona, with_transcripts
from bot.commands.context import Context, excerpt
from bot.commands.settings import MAX_SYSTEM_PROMPT
from bot.config import Config
from bot.messages import GuildSettings, Reply, Settings
from bot.options import DAYS, SHOWN, TRIGGERS, USUAL
from bot.settings import MAX_DAYS, is_days


async def server(context: Context, argument: str) -> Reply:
    """Shows a guild's settings, with buttons, or changes one."""
    if context.guild is None:
        return Reply("This is no server's channel: /settings shows what holds here.")
    context.require()
    guild, config = await context.store.guild(context.guild), context.config
    name, _, word = argument.partition(" ")
    name, word = name.lower(), word.strip()
    if not word:
        shown = guild_choices.overview(guild, config, selects=context.selects)
        return Reply(shown.text, buttons=shown.buttons)
    change = _CHANGES.get(name)
    if change is None:
        return Reply(f"There is no setting {excerpt(name)!r}. There are: {', '.join(_CHANGES)}.")
    try:
        changed = change(context, guild, word)
    except ValueError as error:
        return Reply(str(error))
    await context.store.set_guild(context.guild, changed)
    if name == "system":
        return Reply("The server's system prompt is " + ("taken back." if word == USUAL else "set."))
    told = guild_choices.told({"privacy": "keep"}.get(name, name), changed, config)
    return Reply(f"From now on, where a conversation on this server has nothing of its own: {told}.")


def suggestions(config: Config) -> Iterator[str]:
    """What can be typed behind /server, but for texts."""
    values: dict[str, list[str]] = {
        "persona": [name for name in config.personas if name != USUAL],
        "model": [name for name in config.models if name != USUAL],
        "trigger": [*TRIGGERS],
        "transcripts": [*SHOWN],
        "privacy": [str(days) for days in DAYS],
        "system": [],
    }
    return (f"{name} {word}" for name, words in values.items() for word in (*words, USUAL))


def _one_of(words: object, known: list[str]) -> ValueError:
    return ValueError(f"There is no {excerpt(str(words))!r}. There are: {', '.join([*known, USUAL])}.")


def _persona(context: Context, guild: GuildSettings, word: str) -> GuildSettings:
    names = [name for name in context.config.personas if name != USUAL]
    if word not in (*names, USUAL):
        raise _one_of(word, names)
    return replace(guild, settings=with_persona(guild.settings, None if word == USUAL else word))


def _model(context: Context, guild: GuildSettings, word: str) -> GuildSettings:
    names = [name for name in context.models if name != USUAL]
    if word not in (*names, USUAL):
        raise _one_of(word, names)
    return _with(guild, replace(guild.settings, model=None if word == USUAL else word))


def _system(_: Context, guild: GuildSettings, word: str) -> GuildSettings:
    if len(word) > MAX_SYSTEM_PROMPT:
        raise ValueError(f"A system prompt has at most {MAX_SYSTEM_PROMPT} characters; this one has {len(word)}.")
    return _with(guild, replace(guild.settings, system_prompt=None if word == USUAL else word))


def _trigger(_: Context, guild: GuildSettings, word: str) -> GuildSettings:
    if word not in (*TRIGGERS, USUAL):
        raise _one_of(word, [*TRIGGERS])
    return guild_choices.with_trigger(guild, word)


def _transcripts(_: Context, guild: GuildSettings, word: str) -> GuildSettings:
    if word not in (*SHOWN, USUAL):
        raise _one_of(word, [*SHOWN])
    return _with(guild, with_transcripts(guild.settings, word))


def _days(_: Context, guild: GuildSettings, word: str) -> GuildSettings:
    if word != USUAL and not is_days(word):
        raise ValueError(f"A number of days from 0 to {MAX_DAYS}, please, or {USUAL}.")
    return _with(guild, with_days(guild.settings, word))


def _with(guild: GuildSettings, settings: Settings) -> GuildSettings:
    return replace(guild, settings=settings)


_CHANGES: dict[str, Callable[[Context, GuildSettings, str], GuildSettings]] = {
    "persona": _persona,
    "model": _model,
    "system": _system,
    "trigger": _trigger,
    "transcripts": _transcripts,
    "privacy": _days,
}
