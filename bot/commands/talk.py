"""The commands about what was said: the line of the conversation, its questions and answers."""

from __future__ import annotations

from dataclasses import replace

from bot import reading, voice
from bot.commands.calling import parse
from bot.commands.context import Answer, Context, Hear, Result, excerpt
from bot.errors import NotAllowed
from bot.messages import MessageState, Reply, Role, StoredMessage
from bot.settings import transcripts_of

NO_PART = "That message is no part of this conversation."
NOT_SHOWN = "What I hear is not shown here. /transcripts changes that."
SUMMARISE = (
    "Summarise our conversation up to here, briefly and in the language in which we spoke: what it was about, what came of it, "
    "and what is still open."
)
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


async def go_on(context: Context, argument: str) -> Reply:
    """Makes the line end with an older message."""
    target = await context.target(argument)
    if target is None:
        return Reply(
            "I find no such message. Reply to one with /continue, or write /continue and its number from /history."
        )
    if not (context.may_change or await context.owns(target)):
        raise NotAllowed("In a group you can go on from your own messages and my answers to them.")
    try:
        if target.state in {MessageState.PENDING, MessageState.COMMAND}:
            raise ValueError("it is on no line")
        await context.store.set_head(context.claim.conversation.id, target.id)
    except ValueError:
        return Reply(NO_PART)
    return Reply(f"The conversation goes on from here: {excerpt(reading.summary(target))}")


async def summarise(context: Context, _: str) -> Result:
    """Has the model say what the conversation was about, beside the line."""
    claim = context.claim
    end = claim.question.parent
    if claim.event.reply_to is not None:
        target = await context.target()
        if target is None:
            return Reply("I find no such message in this conversation.")
        if target.state in {MessageState.PENDING, MessageState.COMMAND}:
            return Reply(NO_PART)
        end = target.id
    if not await context.store.history(end):
        return Reply("There is nothing here yet that I could summarise.")
    try:
        await context.store.set_aside(claim, end)
    except ValueError:
        return Reply(NO_PART)
    return Answer(replace(claim.question, parent=end))


def as_asked(message: StoredMessage, answered: int) -> StoredMessage:
    """A message as the model is told it: a command that it answers is spelled out. `answered`: the id of the present question."""
    if message.id != answered and message.state is not MessageState.ANSWERED:
        return message  # others' talk, perhaps with another bot
    call = parse(message.text) if message.role is Role.USER else None
    if call is None or call.name != "summarise":
        return message
    return replace(message, text=" ".join(part for part in (SUMMARISE, call.argument) if part))


async def transcribe(context: Context, _: str) -> Result:
    """Shows what is said in the recording of a message, also of one that was never kept."""
    if transcripts_of(context.here, context.config) == "never":
        return Reply(NOT_SHOWN)
    for message in (await context.target(), context.claim.question):
        if message is not None and any(voice.is_recording(item.attachment) for item in message.attachments):
            return Hear(message)
    return Reply("There is no recording in that. Reply with /transcribe to a message that has one.")


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
        return Reply(NOT_SHOWN)
    heard = next((quote for m in reversed(await context.line()) if (quote := reading.quote(m))), "")
    return Reply(heard or "There is no voice message in this conversation that I have heard.")


async def _last_question(context: Context) -> StoredMessage | None:
    """The line's last question, answered or not. Where group talk is kept only an answered one is surely a question."""
    talk = context.config.chat.remember_group_talk and not context.claim.event.direct
    asked = [m for m in await context.line() if m.role is Role.USER]
    return next((m for m in reversed(asked) if not talk or m.state is MessageState.ANSWERED), None)
