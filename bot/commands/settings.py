"""The commands about how a conversation is held."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from bot.choices import overview, with_days, with_persona, with_transcripts
from bot.commands.context import Context, excerpt
from bot.config import RemoteModelConfig
from bot.messages import Reply, Settings, Transcripts
from bot.options import SHOWN, USUAL
from bot.settings import MAX_DAYS, days_of, is_days, merged, model_of, persona_of, transcripts_of

MAX_SYSTEM_PROMPT = 8000
"""Characters of a system prompt set by /system: above this a small model's window holds nothing else."""
LINK = "persona_"
"""https://t.me/BOT?start=persona_NAME opens a chat whose /start has `persona_NAME` behind it."""


async def start(context: Context, payload: str) -> Reply:
    """What a messenger sends when somebody opens the bot, with what stood in the link that led to it."""
    settings, name = context.settings, payload.removeprefix(LINK)
    if payload.startswith(LINK) and name in context.config.personas:
        settings = with_persona(settings, name)
        await context.change(settings)
    name = persona_of(_beside(context, settings), context.config)
    about = excerpt(context.config.personas[name].description)
    who = " - ".join(part for part in (name if name != "default" else "", about) if part)
    hello = ["Hello! I am Hearth, a chat assistant.", *([f"My persona here: {who}"] if who else [])]
    return Reply("\n".join([*hello, "", "Write to me, and I answer.", "/help lists the commands."]))


async def settings(context: Context, _: str) -> Reply:
    """All of them, with buttons for those who may press them."""
    shown = overview(context.settings, context.config, around=context.around, selects=context.selects)
    return Reply(shown.text, buttons=shown.buttons if context.may_change else ())


async def model(context: Context, argument: str) -> Reply:
    """Shows or changes the model."""
    if not argument:
        current = model_of(context.here, context.config)
        rows = [f"{'*' if name == current else '-'} {name}: {what}" for name, what in context.models.items()]
        return Reply("\n".join([*rows, "", "/model NAME changes it."]))
    if argument in context.config.embedding_models and argument not in context.models:
        return Reply(f"The model {argument} makes embeddings for programs; it cannot chat.")
    if argument not in context.models:
        return Reply(f"There is no model {excerpt(argument)!r}. There are: {', '.join(context.models)}.")
    await context.change(replace(context.settings, model=argument))
    return Reply(f"This conversation now uses the model {argument}.")


async def persona(context: Context, argument: str) -> Reply:
    """Shows or changes the persona."""
    personas = context.config.personas
    if not argument:
        current = persona_of(context.here, context.config)
        rows = [
            f"{'*' if n == current else '-'} {n}: {p.description or excerpt(p.system)}" for n, p in personas.items()
        ]
        return Reply("\n".join([*rows, "", "/persona NAME changes it."]))
    if argument not in personas:
        return Reply(f"There is no persona {excerpt(argument)!r}. There are: {', '.join(personas)}.")
    await context.change(with_persona(context.settings, argument))
    return Reply(f"From now on I am the persona {argument} here.")


async def system(context: Context, argument: str) -> Reply:
    """Shows or sets the system prompt."""
    if not argument:
        own = context.config.personas[persona_of(context.here, context.config)].system
        return Reply(f"{context.here.system_prompt or own}\n\n/system TEXT sets it, /system reset takes it back.")
    if len(argument) > MAX_SYSTEM_PROMPT:
        return Reply(f"A system prompt has at most {MAX_SYSTEM_PROMPT} characters; this one has {len(argument)}.")
    prompt = None if argument == "reset" else argument
    await context.change(replace(context.settings, system_prompt=prompt))
    return Reply("The system prompt is the persona's again." if prompt is None else "The system prompt is set.")


async def transcripts(context: Context, argument: str) -> Reply:
    """Shows or sets whether what was heard is shown."""
    words = (*get_args(Transcripts), USUAL)
    if not argument:
        now = SHOWN[transcripts_of(context.here, context.config)]
        return Reply(f"What I hear in recordings is shown: {now}. /transcripts {'|'.join(words)} changes it.")
    word = argument.lower()
    if word not in words:
        return Reply(f"One of these, please: {', '.join(words)}.")
    changed = with_transcripts(context.settings, word)
    await context.change(changed)
    return Reply(
        f"From now on what I hear in recordings is shown: {SHOWN[transcripts_of(_beside(context, changed), context.config)]}."
    )


async def privacy(context: Context, argument: str) -> Reply:
    """Says what is stored, or sets for how long."""
    usual = days_of(context.around or Settings(), context.config)
    if not argument:
        return Reply(
            f"Messages here and my answers {_kept(days_of(context.here, context.config))}. They are in a database "
            f"on the machine of this bot's owner, {_where(context)}. /privacy DAYS changes how long they are kept here, "
            "/privacy default takes that back. /export gives you everything, /forget removes a message, /forgetme "
            "removes everything of yours."
        )
    if argument != USUAL and not is_days(argument):
        return Reply(f"A number of days from 0 to {MAX_DAYS}, please, or /privacy default for the usual {usual}.")
    changed = with_days(context.settings, argument)
    await context.change(changed)
    return Reply(
        f"From now on messages here and my answers {_kept(days_of(_beside(context, changed), context.config))}."
    )


def _beside(context: Context, changed: Settings) -> Settings:
    """What holds here once this is the conversation's own."""
    return merged(changed, context.around or Settings())


def _where(context: Context) -> str:
    """Who else sees what is written here: a person is to know that before they write it."""
    model = context.config.models[model_of(context.here, context.config)]
    if isinstance(model, RemoteModelConfig) and model.leaves_machine:
        return "and go to another server, which the owner chose, where the model runs"
    return "and the model runs there too"


def _kept(days: int) -> str:
    unit = "day" if days == 1 else "days"
    return f"are kept for {days} {unit} and then removed" if days else "are not kept: they go when the answer is there"
