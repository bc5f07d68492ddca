"""What the platforms show of closed answers: enough of it to change it later."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, func, select, update

from bot.cleaning import clean
from bot.messages import Finished, MessageRef
from bot.ports import Mark
from storage.models import answers, messages, sent_parts
from storage.rows import part
from storage.transaction import Transaction
from storage.values import chunks

_ANSWERS = select(messages.c.answer).where(
    messages.c.parent.in_(bindparam("k_questions", expanding=True)), messages.c.answer.is_not(None)
)
_LAST = (
    select(func.max(messages.c.id).label("id"))
    .where(messages.c.answer.in_(bindparam("k_answers", expanding=True)))
    .group_by(messages.c.answer)
    .subquery("last")
)
_SAID = (
    select(answers.c.id, answers.c.kept, messages.c.text)
    .join_from(_LAST, messages, messages.c.id == _LAST.c.id)
    .join(answers, answers.c.id == messages.c.answer)
    .where(answers.c.closed_at.is_not(None))
    .order_by(answers.c.id)
)
_PARTS = select(sent_parts).where(sent_parts.c.answer == bindparam("k_answer")).order_by(sent_parts.c.number)
_BARE = update(answers).where(answers.c.id.in_(_ANSWERS), answers.c.closed_at.is_not(None), answers.c.kept.is_not(None))


def pack_shown(finished: Finished | None) -> str | None:
    """The text on the platform, where it is another one than what the answer's last message says."""
    if finished is None or not finished.drafts or finished.text == finished.drafts[-1].text:
        return None
    return json.dumps({"shown": clean(finished.text)}, ensure_ascii=False)


def marks(transaction: Transaction, questions: Iterable[int]) -> tuple[Mark, ...]:
    """Of the closed answers to some questions: what stands of each."""
    found: list[Mark] = []
    for chunk in chunks(questions):
        answered = sorted(set(transaction.execute(_ANSWERS, {"k_questions": chunk}).scalars()))
        for row in transaction.execute(_SAID, {"k_answers": answered}).all():
            parts = _parts(transaction, row.id)
            if parts:
                found.append(Mark(parts=parts, text=_shown(row)))
    return tuple(found)


def bare(transaction: Transaction, questions: list[int]) -> None:
    """Forget what stands of the answers to questions that go: it can have a quotation of the question."""
    transaction.execute(_BARE.values(kept=None), {"k_questions": questions})


def _shown(row: Any) -> str:
    text: str = row.text if row.kept is None else json.loads(row.kept)["shown"]
    return text


def _parts(transaction: Transaction, answer: int) -> tuple[MessageRef, ...]:
    """All of them, or none: what the last one holds is known only then."""
    refs = [part(row).message for row in transaction.execute(_PARTS, {"k_answer": answer})]
    known = tuple(ref for ref in refs if ref is not None)
    return known if len(known) == len(refs) else ()
