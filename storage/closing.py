"""From the claim to the end of an answer: its lease, what is sent of it, what it leaves in the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, delete, exists, literal, select, update

from bot.errors import LeaseLost
from bot.messages import AnswerState, Claim, Draft, Finished, MessageState, Outcome, SentPart
from storage import guilds
from storage.claiming import SECOND
from storage.models import answers, conversations, messages, sent_parts, usage
from storage.places import day_of_line, today, versions_of
from storage.prepared import Prepared
from storage.removal import drop_answers, remove, vacate
from storage.rows import Group
from storage.standing import pack_shown
from storage.transaction import Scrub, Transaction, insert_of
from storage.values import pack_finished, pack_ids
from storage.waiting import promote

MINE = and_(
    answers.c.id == bindparam("k_id"),
    answers.c.owner == bindparam("k_owner"),
    answers.c.attempt == bindparam("k_attempt"),
    answers.c.lease_until.is_not(None),
)
_EXTEND = Prepared(update(answers).where(MINE).values(lease_until=bindparam("k_lease_until")))
_KEEP = Prepared(update(answers).where(MINE).values(kept=bindparam("k_kept")))
_STREAM = Prepared(update(answers).where(MINE).values(state=AnswerState.STREAMING.value))
_STREAM_KEPT = Prepared(update(answers).where(MINE).values(state=AnswerState.STREAMING.value, kept=bindparam("k_kept")))
_RELEASE = (
    update(answers)
    .where(MINE)
    .values(state=AnswerState.PENDING.value, attempt=answers.c.attempt - 1, owner=None, lease_until=None)
    .returning(answers.c.conversation)
)
_CLOSE = Prepared(
    update(answers)
    .where(answers.c.id == bindparam("k_id"))
    .values(
        state=bindparam("k_state"),
        closed_at=bindparam("k_closed_at"),
        owner=None,
        lease_until=None,
        kept=bindparam("k_kept"),
    )
)
_PART = and_(sent_parts.c.answer == bindparam("k_answer"), sent_parts.c.number == bindparam("k_number"))
_SENT: dict[str, BindParameter[str | None]] = {
    name: bindparam(name) for name in ("platform", "account", "chat", "thread", "message_id")
}
_RECORD = Prepared(update(sent_parts).where(_PART).values(**_SENT))
_RECORD_BY_NONCE = (
    update(sent_parts)
    .where(sent_parts.c.nonce == bindparam("k_nonce"), sent_parts.c.message_id.is_(None))
    .values(**_SENT)
)
_next = answers.alias("next_answer")
_MORE = exists(
    select(literal(1)).where(
        _next.c.conversation == answers.c.conversation, _next.c.closed_at.is_(None), _next.c.id != answers.c.id
    )
)
_ANSWER = Group(
    (
        answers.c.id,
        answers.c.side_branch,
        answers.c.leads,
        answers.c.platform,
        answers.c.conversation,
        answers.c.question,
        _MORE.label("more"),
    ),
    start=0,
)
_CONVERSATION = Group(
    (
        conversations.c.id,
        conversations.c.head,
        conversations.c.retention_days,
        conversations.c.first_day,
        conversations.c.platform,
        conversations.c.account,
        conversations.c.guild,
    ),
    start=_ANSWER.end,
)
_QUESTION = Group((messages.c.parent, messages.c.state, messages.c.author_id), start=_CONVERSATION.end)
_OPEN = (
    select(*_ANSWER.columns, *_CONVERSATION.columns, *_QUESTION.columns)
    .join_from(answers, conversations, conversations.c.id == answers.c.conversation)
    .join(messages, messages.c.id == answers.c.question)
    .where(MINE)
)
_LOAD = Prepared(_OPEN, shared=_OPEN.with_for_update(of=(answers, conversations)))
_APPEND = Prepared(messages.insert().returning(messages.c.id))
_MARK = Prepared(update(messages).where(messages.c.id == bindparam("k_id")).values(state=bindparam("k_state")))
_move = update(conversations).where(conversations.c.id == bindparam("k_id")).values(head=bindparam("k_head"))
_MOVE_HEAD = Prepared(_move)
_MOVE_LINE = Prepared(_move.values(first_day=bindparam("k_first_day")))
_CUT = Prepared(update(messages).where(messages.c.id == bindparam("k_id")).values(window_start=True))
_COUNTERS = ("messages", "prompt_tokens", "cached_tokens", "completion_tokens")


def _intended(*, shared: bool) -> Any:
    statement = insert_of(sent_parts, shared=shared)
    changed = {name: statement.excluded[name] for name in ("nonce", *_SENT)}
    return statement.on_conflict_do_update(index_elements=["answer", "number"], set_=changed)


def _counted(*, shared: bool) -> Any:
    statement = insert_of(usage, shared=shared)
    sums = {name: usage.c[name] + statement.excluded[name] for name in _COUNTERS}
    keys = [column.name for column in usage.primary_key.columns]
    return statement.on_conflict_do_update(index_elements=keys, set_=sums)


_INTENDED = Prepared(_intended(shared=False), shared=_intended(shared=True))
_COUNTED = Prepared(_counted(shared=False), shared=_counted(shared=True))


def extend(transaction: Transaction, claim: Claim, lease: float) -> None:
    """See `bot.ports.Store.extend`."""
    mine(transaction, _EXTEND, claim, k_lease_until=transaction.now + int(lease * SECOND))


def release(transaction: Transaction, claim: Claim) -> None:
    """See `bot.ports.Store.release`."""
    conversation = transaction.execute(_RELEASE, _who(claim)).scalar()
    if conversation is not None:
        promote(transaction, conversation)


def keep(transaction: Transaction, claim: Claim, finished: Finished) -> None:
    """See `bot.ports.Ledger.keep`."""
    mine(transaction, _KEEP, claim, k_kept=pack_finished(finished))


def intend(transaction: Transaction, claim: Claim, part: SentPart, finished: Finished | None) -> None:
    """See `bot.ports.Ledger.intend`."""
    if finished is None:
        mine(transaction, _STREAM, claim)
    else:
        mine(transaction, _STREAM_KEPT, claim, k_kept=pack_finished(finished))
    row = {"answer": claim.id, "number": part.index, "nonce": part.nonce, **_sent(part)}
    transaction.execute(_INTENDED, row)


def record_sent(transaction: Transaction, claim: Claim, part: SentPart) -> None:
    """See `bot.ports.Ledger.record_sent`.

    What was sent was sent, whoever holds the lease by now; and if an edit gave the part to a new answer meanwhile,
    the nonce finds it there.
    """
    values = {"k_answer": claim.id, "k_number": part.index, **_sent(part)}
    if transaction.execute(_RECORD, values).rowcount:
        return
    if not transaction.execute(_RECORD_BY_NONCE, {"k_nonce": part.nonce, **_sent(part)}).rowcount:
        raise LeaseLost(f"part {part.index} of answer {claim.id} is not known any more")


def drop_part(transaction: Transaction, claim: Claim, index: int) -> None:
    """See `bot.ports.Ledger.drop_part`."""
    mine(transaction, _STREAM, claim)
    transaction.execute(delete(sent_parts).where(_PART), {"k_answer": claim.id, "k_number": index})


@dataclass(frozen=True, slots=True)
class _Open:
    """What `close` knows of the answer it ends."""

    answer: Any
    place: Any
    question: Any
    finished: Finished | None


def close(
    transaction: Transaction, claim: Claim, outcome: Outcome, finished: Finished | None, sent: SentPart | None
) -> tuple[int, ...]:
    """See `bot.ports.Ledger.close`."""
    if sent is not None:
        record_sent(transaction, claim, sent)
    row = transaction.execute(_LOAD, _who(claim)).first()
    if row is None:
        raise LeaseLost(f"answer {claim.id} is not {claim.owner}'s any more")
    open_ = _Open(_ANSWER.of(row), _CONVERSATION.of(row), _QUESTION.of(row), finished)
    answer, place, question = open_.answer, open_.place, open_.question
    if finished is not None and finished.model and question.author_id is not None:
        _count(transaction, answer.platform, question.author_id, finished)
    days = guilds.days_of(transaction, place)
    erase = finished is not None and finished.erase
    if days == 0 or erase or (finished is not None and finished.unkept):
        drop_answers(transaction, answers.c.id == answer.id)
        remove(transaction, versions_of(transaction, answer.question))
        if erase:
            vacate(transaction, [answer.conversation])
        transaction.scrub = Scrub.FILE if erase else Scrub.LOG
        promote(transaction, answer.conversation)
        return ()
    new = _append(transaction, answer, question, finished.drafts if finished is not None else ())
    _settle(transaction, open_, outcome, new)
    closed = {"k_state": outcome, "k_closed_at": transaction.now, "k_kept": pack_shown(finished)}
    transaction.execute(_CLOSE, {"k_id": answer.id, **closed})
    # On PostgreSQL another may have come while the lock was waited for.
    if answer.more or transaction.shared:
        promote(transaction, answer.conversation)
    return new


def _append(transaction: Transaction, answer: Any, question: Any, drafts: tuple[Draft, ...]) -> tuple[int, ...]:
    """Add the drafts to the tree, each the parent of the next."""
    new: list[int] = []
    for draft in drafts:
        parent = new[-1] if new else _parent(transaction, answer, question, draft)
        values = {
            "conversation": answer.conversation,
            "parent": parent,
            "answer": answer.id,
            "role": draft.role,
            "state": draft.state,
            "placed": True,
            "created_at": transaction.now,
            "model": draft.model,
            "prompt_tokens": draft.prompt_tokens,
            "cached_tokens": draft.cached_tokens,
            "completion_tokens": draft.completion_tokens,
            "token_ids": pack_ids(draft.token_ids),
            "text": draft.text,
        }
        new.append(transaction.execute(_APPEND, values).scalar_one())
    return tuple(new)


def _parent(transaction: Transaction, answer: Any, question: Any, draft: Draft) -> int | None:
    """The first draft's parent; if a command asked about an older message and that was removed since, the command's."""
    if draft.parent is None or draft.parent == answer.question:
        return draft.parent
    there = select(messages.c.id).where(messages.c.id == draft.parent, messages.c.conversation == answer.conversation)
    parent: int | None = transaction.execute(there).scalar()
    return parent or question.parent


def _settle(transaction: Transaction, open_: _Open, outcome: Outcome, new: tuple[int, ...]) -> None:
    """Mark the question, move the head, store the cut."""
    answer, place, question, finished = open_.answer, open_.place, open_.question, open_.finished
    moves = finished is None or finished.moves_head
    waited = question.state == MessageState.PENDING
    head = new[-1] if new else None
    if new:
        assert finished is not None, "drafts come with a Finished"
        answered = finished.drafts[0].parent in {None, answer.question}
        state = MessageState.ANSWERED if answered else MessageState.COMMAND
    elif outcome is AnswerState.DONE or not moves:
        state = MessageState.COMMAND
    else:
        state = MessageState.CONTEXT
        head = answer.question if waited and (answer.leads or place.head == question.parent) else None
    if waited:
        transaction.execute(_MARK, {"k_id": answer.question, "k_state": state})
    if head is not None and moves and not answer.side_branch:
        _move_head(transaction, open_, head)
    if finished is not None and finished.window_start is not None:
        transaction.execute(_CUT, {"k_id": finished.window_start})


def _move_head(transaction: Transaction, open_: _Open, head: int) -> None:
    moved = {"k_id": open_.place.id, "k_head": head}
    if open_.answer.leads and open_.place.head != open_.question.parent:
        day = day_of_line(transaction, open_.place, head)
        transaction.execute(_MOVE_LINE, {**moved, "k_first_day": day})
    else:
        transaction.execute(_MOVE_HEAD, moved)


def _count(transaction: Transaction, platform: str, author: str, finished: Finished) -> None:
    """Add to the counters of the day. One answer is one message, however many rounds it took and however it ended."""
    row = {
        "platform": platform,
        "author": author,
        "day": today(transaction),
        "model": finished.model,
        "messages": 1,
        "prompt_tokens": finished.usage.prompt_tokens,
        "cached_tokens": finished.usage.cached_tokens,
        "completion_tokens": finished.usage.completion_tokens,
    }
    transaction.execute(_COUNTED, row)


def mine(transaction: Transaction, statement: Prepared, claim: Claim, **values: Any) -> None:
    """Change an answer if the claim still holds; the statement's condition is MINE. Raises LeaseLost."""
    if not transaction.execute(statement, {**_who(claim), **values}).rowcount:
        raise LeaseLost(f"answer {claim.id} is not {claim.owner}'s any more")


def _who(claim: Claim) -> dict[str, Any]:
    return {"k_id": claim.id, "k_owner": claim.owner, "k_attempt": claim.attempt}


def _sent(part: SentPart) -> dict[str, str | None]:
    if part.message is None:
        return dict.fromkeys(_SENT)
    key = part.message.key
    return {
        "platform": key.platform,
        "account": key.account,
        "chat": key.chat,
        "thread": key.thread,
        "message_id": part.message.message_id,
    }
