"""What the store tells: history, conversations, counters, exports. No function here changes anything."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, literal, select

from bot import aside
from bot.api import person_caller
from bot.generation import Usage
from bot.messages import Conversation, ConversationKey, MessageState, Role, Settings, StoredMessage
from bot.ports import Exported
from storage import api_kept, api_usage, attachments, guilds, rows
from storage.models import answers, conversations, events, messages, usage
from storage.one_trip import data_version
from storage.pairing import paired_at
from storage.places import answer_at, tip_of, today
from storage.prepared import Prepared
from storage.privacy import messages_of, places_of
from storage.rows import CONVERSATION, HERE, MESSAGE, at
from storage.transaction import Transaction
from storage.values import chunks, time_of

HISTORY_LIMIT = 5000
"""The longest path that `history` returns, in messages. A path is cut long before (promise 4); this bounds the damage
where nobody cuts: group talk of months between two questions."""

SHORT = 100
"""Messages of a path that is read with the claim: what a window of 8,192 tokens holds of ordinary talk."""

_HERE = select(*CONVERSATION).where(HERE)
_BY_ID = select(*MESSAGE).where(messages.c.id == bindparam("k_id"))
_EVENT = and_(*(events.c[name] == bindparam(f"k_{name}") for name in ("platform", "account", "chat", "event_id")))
_BY_EVENT = (
    select(*MESSAGE)
    .join(events, events.c.message == messages.c.id)
    .where(_EVENT)
    .order_by(messages.c.id.desc())
    .limit(1)
)
_OPEN = select(
    exists(
        select(literal(1))
        .join_from(events, answers, answers.c.question == events.c.message)
        .where(_EVENT, answers.c.closed_at.is_(None))
    )
)
_ANSWER_TO = (
    select(*MESSAGE)
    .join_from(events, answers, answers.c.question == events.c.message)
    .join(messages, messages.c.answer == answers.c.id)
    .where(_EVENT, messages.c.role == Role.ASSISTANT.value)
    .order_by(messages.c.id.desc())
    .limit(1)
)
WAITING = select(func.count()).select_from(answers).where(answers.c.closed_at.is_(None))
"""How many answers are waiting or in progress."""


def _path(limit: int, *wanted: ColumnElement[bool]) -> Select[Any]:
    """From a message up to the nearest stored cut: one look-up by primary key for each message on the way."""
    walked = (messages.c.id, messages.c.parent, messages.c.window_start)
    path = select(*walked, literal(0).label("depth")).where(messages.c.id == bindparam("k_tip"))
    steps = path.cte("path", recursive=True)
    steps = steps.union_all(
        select(*walked, steps.c.depth + 1)
        .join_from(steps, messages, messages.c.id == steps.c.parent)
        .where(~steps.c.window_start, steps.c.depth < limit - 1)
    )
    return (
        select(*MESSAGE)
        .join_from(steps, messages, messages.c.id == steps.c.id)
        .where(*wanted)
        .order_by(steps.c.depth.desc())
    )


_PATH = Prepared(_path(HISTORY_LIMIT, messages.c.state != MessageState.COMMAND.value))
_SHORT_PATH = Prepared(_path(SHORT))
_STEPS = Prepared(_path(2))
FEW = 3
"""So often a claim reads two messages of its path that are not remembered; then all the rest."""


def history(transaction: Transaction, tip: int) -> list[StoredMessage]:
    """See `bot.ports.Store.history`."""
    return attachments.told(transaction, transaction.execute(_PATH, {"k_tip": tip}).all())


def short_path(transaction: Transaction, question: StoredMessage) -> tuple[StoredMessage, ...] | None:
    """The history for a claim, within its transaction; None if it is long: others wait for their commit meanwhile."""
    if not transaction.shared:
        transaction.remembered.at(data_version(transaction.connection))
    path, known, misses = [question], dict[int, StoredMessage](), 0
    while (above := path[-1].parent) is not None and not path[-1].window_start:
        message = known.get(above) or transaction.remembered.get(above)
        if message is None:
            # The last answer and its question are new in each claim; where more is unknown, nothing is known.
            steps = _SHORT_PATH if transaction.shared or misses >= FEW else _STEPS
            known |= _read(transaction, steps, above)
            message, misses = known.get(above), misses + 1
        if message is None or len(path) == SHORT:
            return None
        path.append(message)
    return tuple(message for message in reversed(path) if message.state is not MessageState.COMMAND)


def _read(transaction: Transaction, path: Prepared, tip: int) -> dict[int, StoredMessage]:
    """Messages on the way up, by id; they are remembered."""
    told = attachments.told(transaction, transaction.execute(path, {"k_tip": tip}).all())
    for message in told:
        transaction.remembered.put(message)
    return {message.id: message for message in told}


def conversation(transaction: Transaction, key: ConversationKey) -> Conversation | None:
    """The conversation at a place, if there is one."""
    row = transaction.execute(_HERE, at(key)).first()
    return None if row is None else rows.conversation(row, guilds.around(transaction, row))


def is_open(transaction: Transaction, key: ConversationKey, event_id: str) -> bool:
    """See `bot.ports.Store.is_open`."""
    return bool(transaction.execute(_OPEN, _of_event(key, event_id)).scalar())


def answer_to(transaction: Transaction, key: ConversationKey, event_id: str) -> StoredMessage | None:
    """See `bot.ports.Store.answer_to`."""
    row = transaction.execute(_ANSWER_TO, _of_event(key, event_id)).first()
    return None if row is None else rows.stored(row)


def find_sent(transaction: Transaction, key: ConversationKey, message_id: str) -> StoredMessage | None:
    """See `bot.ports.Store.find_sent`."""
    answer = answer_at(transaction, key, message_id)
    if answer is not None:
        tip = tip_of(transaction, answer)
        row = None if tip is None else transaction.execute(_BY_ID, {"k_id": tip}).first()
    else:
        row = transaction.execute(_BY_EVENT, _of_event(key, message_id)).first()
    return None if row is None else attachments.told(transaction, [row])[0]


def pending(transaction: Transaction, place: int | None) -> int:
    """See `bot.ports.Store.pending`."""
    statement = WAITING if place is None else WAITING.where(answers.c.conversation == place)
    count: int = transaction.execute(statement).scalar_one()
    return count


def count_today(transaction: Transaction, platform: str, author: str) -> Usage:
    """See `bot.ports.Store.count_today`."""
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    row: Any = transaction.execute(
        select(*(func.coalesce(func.sum(usage.c[name]), 0) for name in names)).where(
            usage.c.platform == platform, usage.c.author == author, usage.c.day == today(transaction)
        )
    ).one()
    return Usage(prompt_tokens=int(row[0]), cached_tokens=int(row[1]), completion_tokens=int(row[2]))


def usage_by_day(transaction: Transaction, platform: str | None, author: str | None) -> list[dict[str, object]]:
    """See `bot.ports.Store.usage`."""
    counters = ("messages", "prompt_tokens", "cached_tokens", "completion_tokens")
    statement = select(usage.c.day, usage.c.model, *(func.sum(usage.c[name]).label(name) for name in counters))
    if platform is not None:
        statement = statement.where(usage.c.platform == platform)
    if author is not None:
        statement = statement.where(usage.c.author == author)
    statement = statement.group_by(usage.c.day, usage.c.model).order_by(usage.c.day.desc(), usage.c.model)
    return [
        {"day": _iso(row.day), "model": row.model, **{name: int(getattr(row, name)) for name in counters}}
        for row in transaction.execute(statement)
    ]


def export(transaction: Transaction, platform: str, author: str) -> Exported:
    """See `bot.ports.Store.export`; but what programs had kept is JSON text still: see `with_json`."""
    own = places_of(transaction, platform, author)
    told: dict[int, list[dict[str, object]]] = {place: [] for place in own}
    for chunk in chunks(sorted(messages_of(transaction, platform, author, own))):
        wanted = select(messages.c.conversation, *MESSAGE).where(messages.c.id.in_(chunk)).order_by(messages.c.id)
        found = transaction.execute(wanted).all()
        for row, message in zip(found, attachments.told(transaction, found), strict=True):
            told.setdefault(row.conversation, []).append(_exported(transaction, message))
    places = {}
    for chunk in chunks(sorted(told)):
        here = select(*CONVERSATION).where(conversations.c.id.in_(chunk))
        places.update({row.id: row for row in transaction.execute(here)})
    paired = paired_at(transaction, platform, author)
    return Exported(
        data={
            "person": {"platform": platform, "id": author},
            "exported_at": time_of(transaction.now).isoformat(),
            "paired_at": None if paired is None else time_of(paired).isoformat(),
            "conversations": [_place(places[place], told[place]) for place in sorted(places)],
            "usage": usage_by_day(transaction, platform, author),
            **_of_the_api(transaction, platform, author),
        }
    )


def _of_the_api(transaction: Transaction, platform: str, author: str) -> dict[str, object]:
    """What is kept of somebody's own use of the API; nothing of who cannot use it as a person."""
    caller = person_caller(platform, author)
    if caller is None:
        return {}
    kept = [{**asdict(one), "created": one.created.isoformat()} for one in api_kept.every(transaction, caller)]
    return {"api": {"usage": api_usage.by_day(transaction, caller), "completions": kept}}


def with_json(exported: Exported) -> Exported:
    """The same with what programs had kept as values: apart from the transaction, which would wait for it."""
    for one in _completions(exported):
        one |= {name: aside.parsed(one[name]) for name in ("messages", "completion")}
    return exported


def size_of_json(exported: Exported) -> int:
    """Characters that `with_json` reads."""
    return sum(len(one["messages"]) + len(one["completion"]) for one in _completions(exported))


def _completions(exported: Exported) -> list[dict[str, Any]]:
    api: Any = exported.data.get("api", {"completions": []})
    found: list[dict[str, Any]] = api["completions"]
    return found


def _of_event(key: ConversationKey, event_id: str) -> dict[str, str]:
    """The parameters of `_EVENT`."""
    return {"k_platform": key.platform, "k_account": key.account, "k_chat": key.chat, "k_event_id": event_id}


def _place(row: Any, told: list[dict[str, object]]) -> dict[str, object]:
    known = rows.conversation(row, Settings())
    data: dict[str, object] = {"conversation": str(known.key), "direct": known.direct, "messages": told}
    if known.direct:
        data["title"] = known.title
        data["settings"] = asdict(known.settings)
    return data


def _exported(transaction: Transaction, message: StoredMessage) -> dict[str, object]:
    data: dict[str, object] = {
        "id": message.id,
        "parent": message.parent,
        "role": message.role,
        "state": message.state,
        "at": message.created_at.isoformat(),
        "text": message.text,
    }
    if message.author is not None:
        data["author"] = message.author.name
        data["attachments"] = attachments.exported(transaction, message)
    else:
        data["model"] = message.model
    return data


def _iso(day: date) -> str:
    return day.isoformat()
