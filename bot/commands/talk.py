"""The commands about what was said: the line of the conversation, its questions and answers."""

from __future__ import annotations

from bot import reading
from bot.commands.context import Answer, Context, Result, excerpt
from bot.errors import NotAllowed
from bot.messages import MessageState, Reply, Role, StoredMessage
from bot.settings import transcripts_of

HISTORY_SHOWN = 20
"""Messages that /history shows: about a screen."""


async def new(context: Context, _: str) -> Reply:
    """Begins a new line."""
    context.require()
    await context.store.set_head(context.claim.conversation.id, None)
    return Reply("A new conversation begins. What was said before is not in it.")


async def retry(context: Context, _: str) -> Result:
    """Answers the last question again."""
    question = await _last_question(context)
    return Answer(question) if question else Reply("There is no question yet that I could answer again.")


async def undo(context: Context, _: str) -> Reply:
    """Takes back the last question and its answer."""
    if context.claim.side_branch:
        return Reply("/undo takes back the last question. Please write it without replying to an older message.")
    question = await _last_question(context)
    if question is None:
        return Reply("There is nothing to take back.")
    own = question.author is not None and question.author.id == context.claim.event.author.id
    if not (own or context.may_change):
        raise NotAllowed("In a group you can take back your own question only.")
    await context.store.set_head(context.claim.conversation.id, question.parent)
    return Reply(f"Taken back: {excerpt(reading.summary(question))}")


async def stop(_: Context, __: str) -> Reply:
    """What is left of a /stop that came as a message: the answer is over by then."""
    return Reply("There is nothing to stop.")


async def history(context: Context, _: str) -> Reply:
    """Shows the end of the line, with the messages' numbers."""
    line = (await context.line())[-HISTORY_SHOWN:]
    rows = [f"{m.id} {m.author.name if m.author else m.role}: {excerpt(reading.summary(m))}" for m in line]
    return Reply("\n".join(rows) if rows else "This conversation is empty.")


async def transcript(context: Context, _: str) -> Reply:
    """Shows what was heard last."""
    if transcripts_of(context.here, context.config) == "never":
        return Reply("What I hear is not shown here. /transcripts changes that.")
    heard = next((quote for m in reversed(await context.line()) if (quote := reading.quote(m))), "")
    return Reply(heard or "There is no voice message in this conversation that I have heard.")


async def _last_question(context: Context) -> StoredMessage | None:
    """The line's last question, answered or not. Where group talk is kept only an answered one is surely a question."""
    talk = context.config.chat.remember_group_talk and not context.claim.event.direct
    asked = [m for m in await context.line() if m.role is Role.USER]
    return next((m for m in reversed(asked) if not talk or m.state is MessageState.ANSWERED), None)
