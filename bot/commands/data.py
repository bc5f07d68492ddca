"""The commands about a person's own data."""

from __future__ import annotations

import asyncio
import json

from bot.commands.context import Context
from bot.errors import NotAllowed
from bot.messages import File, Reply

DAYS_SHOWN = 20
"""Rows that /usage shows: about a screen."""


async def usage(context: Context, _: str) -> Reply:
    """Shows the tokens that the person has used."""
    event = context.claim.event
    days = await context.store.usage(platform=event.key.platform, author=event.author.id)
    rows = [
        f"{d['day']} {d['model']}: {d['messages']} messages, {d['prompt_tokens']} tokens read "
        f"({d['cached_tokens']} from the cache), {d['completion_tokens']} written"
        for d in days[:DAYS_SHOWN]
    ]
    return Reply("\n".join(rows) if rows else "You have used nothing yet.")


async def export(context: Context, _: str) -> Reply:
    """Gives everything of the person as a file."""
    event = context.claim.event
    exported = await context.store.export(event.key.platform, event.author.id)
    data = await asyncio.to_thread(json.dumps, exported.data, ensure_ascii=False, indent=2)
    file = File("hearth-export.json", "application/json", data.encode())
    return Reply("This is everything that I have of you.", (file,))


async def forget(context: Context, argument: str) -> Reply:
    """Removes a message."""
    target = await context.target(argument)
    if target is None:
        return Reply(
            "I find no such message. Reply to one with /forget, or write /forget and its number from /history."
        )
    if not (context.may_change or await context.owns(target)):
        raise NotAllowed("You can make me forget your own messages and my answers to them.")
    gone = await context.store.forget_message(target.id)
    context.removed(gone)
    return Reply(f"Forgotten: {gone.messages} message{'s' if gone.messages != 1 else ''}.")


async def forgetme(context: Context, _: str) -> Reply:
    """Removes everything of the person."""
    event = context.claim.event
    gone = await context.store.forget_person(event.key.platform, event.author.id, but=context.claim.id)
    context.removed(gone)
    return Reply(f"Everything of yours is removed: {gone.messages} messages and answers. I do not know you any more.")
