"""Short ways to write what happens in a conversation with branches, as a page shows it."""

from __future__ import annotations

from dataclasses import replace

from bot.messages import Action, ActionName, AnswerState, Claim, ConversationKey, Finished, Triage
from bot.ports import Received
from bot.records import Node
from storage.store import SqlStore
from tests.contract.talk import ANN, THEN, answer, finished, said

PAGE = ConversationKey("web", "local", "ann", "one")
OTHER = replace(PAGE, thread="two")
NOTHING = Finished(outcome=AnswerState.FAILED, text="That went wrong.")
GIVEN_UP = replace(NOTHING, moves_head=False)
WORD = Finished(outcome=AnswerState.DONE, text="Here is help.", moves_head=False)


async def ask(
    store: SqlStore, text: str, follows: int | None = None, *, key: ConversationKey = PAGE, reply_to: str | None = None
) -> int:
    """A question on the page, known there by its text."""
    event = said(text, text, key=key, direct=True, follows=follows, reply_to=reply_to)
    received = await store.receive(event, Triage.PENDING)
    assert received.message is not None
    return received.message


async def told(store: SqlStore, text: str, words: str, follows: int | None = None) -> tuple[int, int]:
    """A question and its answer; returns the ids of both."""
    question = await ask(store, text, follows)
    _, tip = await answer(store, words)
    return question, tip


async def again(store: SqlStore, message: int | None, event: str = "again", *, key: ConversationKey = PAGE) -> Received:
    """The button for another answer."""
    action = Action(key=key, event_id=event, author=ANN, name=ActionName.RETRY, sent_at=THEN, message=message)
    return await store.receive(action, Triage.PENDING)


async def nodes(store: SqlStore, *, limit: int = 200, before: int | None = None) -> list[Node]:
    return await store.line((await store.conversation(PAGE)).id, limit=limit, before=before)


async def words(store: SqlStore, *, limit: int = 200, before: int | None = None) -> list[str]:
    return [node.message.text for node in await nodes(store, limit=limit, before=before)]


async def choose(store: SqlStore, message: int) -> None:
    await store.choose((await store.conversation(PAGE)).id, message)


async def head(store: SqlStore) -> int | None:
    return (await store.conversation(PAGE)).head


async def close(store: SqlStore, claim: Claim, text: str) -> int:
    new = await store.close(claim, AnswerState.DONE, finished(text, claim.question.id))
    return new[-1]
