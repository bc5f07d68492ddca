"""What messages bring along: files as their platform states them, and what was read in them, kept once for equal bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, literal, select, update

from bot.messages import Attached, Attachment, Speech, StoredMessage
from bot.records import Content, Reading
from storage.models import READ_IN, attachments, contents, messages
from storage.rows import stored
from storage.transaction import Transaction, insert
from storage.values import chunks

FILE = "file"
"""The `reader` of a file that nobody has read yet."""
_STATED = ("kind", "name", "media_type", "size", "reference", "duration")
"""The fields of an Attachment."""
_KEPT = ("hash", "reader", "media_type", "size", "words", "data")
"""The fields of every Content."""
_ADD = attachments.insert()
_OF = (
    select(attachments, contents.c.words, contents.c.language, contents.c.duration.label("heard"))
    .outerjoin_from(
        attachments,
        contents,
        READ_IN,
    )
    .where(attachments.c.message.in_(bindparam("k_messages", expanding=True)))
    .order_by(attachments.c.message, attachments.c.number)
)
_READ = select(attachments.c.number, attachments.c.hash, attachments.c.reader).where(
    attachments.c.message == bindparam("k_message")
)
_NOTE = (
    update(attachments)
    .where(attachments.c.message == bindparam("k_message"), attachments.c.number == bindparam("k_number"))
    .values(hash=bindparam("k_hash"), reader=bindparam("k_reader"), unread=bindparam("k_unread"))
)
_COPIED = ("number", *_STATED, "hash", "reader", "unread")
_COPY = attachments.insert().from_select(
    ["message", *_COPIED],
    select(bindparam("k_to", type_=messages.c.id.type), *(attachments.c[name] for name in _COPIED)).where(
        attachments.c.message == bindparam("k_from")
    ),
)
_DROP = (
    delete(attachments)
    .where(attachments.c.message.in_(bindparam("k_messages", expanding=True)))
    .returning(attachments.c.hash, attachments.c.reader)
)
_HELD = (
    select(attachments.c.number, contents.c.data)
    .join_from(
        attachments,
        contents,
        READ_IN,
    )
    .where(attachments.c.message == bindparam("k_message"), contents.c.data.is_not(None))
)
_FILE = select(contents.c.data).where(contents.c.hash == bindparam("k_hash"), contents.c.data.is_not(None)).limit(1)
_THIS = and_(contents.c.hash == bindparam("k_hash"), contents.c.reader == bindparam("k_reader"))
_LOCK = select(literal(1)).where(_THIS).with_for_update()
_DROP_CONTENT = delete(contents).where(
    _THIS,
    ~exists(
        select(literal(1)).where(
            attachments.c.hash == bindparam("k_hash"), attachments.c.reader == bindparam("k_reader")
        )
    ),
)


def add(transaction: Transaction, message: int, stated: Sequence[Attachment]) -> None:
    """Write down what came with a new message, whose row says `attached`."""
    rows = [
        {
            "message": message,
            "number": number,
            **{name: getattr(item, name) for name in _STATED},
            **_held(transaction, item),
        }
        for number, item in enumerate(stated)
    ]
    transaction.execute(_ADD, rows)


def _held(transaction: Transaction, item: Attachment) -> dict[str, str | None]:
    """Keep the file of an attachment that brought it, until it is read; it stands in the place of what is read in it."""
    if item.data is None:
        return {"hash": None, "reader": None}
    digest = item.reference  # made where it keeps nobody waiting
    content = Content(
        hash=digest, reader=FILE, media_type=item.media_type, size=len(item.data), words="", data=item.data
    )
    _keep(transaction, content)
    return {"hash": digest, "reader": FILE}


def copy(transaction: Transaction, message: int, to: int) -> None:
    """Another version of a message has the same attachments."""
    transaction.execute(_COPY, {"k_from": message, "k_to": to})


def told(transaction: Transaction, rows: Sequence[Any]) -> list[StoredMessage]:
    """Rows of MESSAGE as values. Those with attachments take one statement more for all, the others none."""
    found = of(transaction, (row.id for row in rows if row.attached))
    return [stored(row, found.get(row.id, ())) for row in rows]


def of(transaction: Transaction, ids: Iterable[int]) -> dict[int, tuple[Attached, ...]]:
    """The attachments of messages that have some."""
    found: dict[int, tuple[Attached, ...]] = {}
    for chunk in chunks(ids):
        for row in transaction.execute(_OF, {"k_messages": chunk}):
            stated = Attachment(**{name: getattr(row, name) for name in _STATED})
            speech = None if row.language is None else Speech(row.language, row.heard)
            item = Attached(stated, None if row.reader == FILE else row.words, row.unread or "", speech)
            found[row.message] = (*found.get(row.message, ()), item)
    return found


def record(transaction: Transaction, message: int, readings: Sequence[Reading]) -> None:
    """See `bot.ports.Store.record_read`."""
    # Locked, so that a removal at the same time either comes first or finds what is written here.
    statement = _READ.with_for_update() if transaction.shared else _READ
    known = {row.number: row for row in transaction.execute(statement, {"k_message": message})}
    replaced: set[tuple[str, str]] = set()
    for reading in readings:
        if reading.number not in known:
            continue
        before, content = known[reading.number], reading.content
        if content is not None:
            _keep(transaction, content)
        values = {
            "k_hash": content and content.hash,
            "k_reader": content and content.reader,
            "k_unread": reading.unread or None,
        }
        transaction.execute(_NOTE, {"k_message": message, "k_number": reading.number, **values})
        if before.hash is not None:
            replaced.add((before.hash, before.reader))
    _drop_unheld(transaction, replaced)


def drop(transaction: Transaction, ids: Iterable[int]) -> None:
    """Remove what came with these messages, and what was read in it unless another message has the same bytes."""
    held: set[tuple[str, str]] = set()
    for chunk in chunks(ids):
        gone = transaction.execute(_DROP, {"k_messages": chunk})
        held.update((row.hash, row.reader) for row in gone if row.hash is not None)
    _drop_unheld(transaction, held)


def file(transaction: Transaction, digest: str) -> bytes | None:
    """See `bot.ports.Store.file`."""
    return transaction.execute(_FILE, {"k_hash": digest}).scalar()


def exported(transaction: Transaction, message: StoredMessage) -> list[dict[str, object]]:
    """A message's attachments as JSON-ready values, with the files that are kept."""
    if not message.attachments:
        return []
    kept = {row.number: row.data for row in transaction.execute(_HELD, {"k_message": message.id})}
    return [_exported(item, kept.get(number)) for number, item in enumerate(message.attachments)]


def _exported(item: Attached, data: bytes | None) -> dict[str, object]:
    told: dict[str, object] = {name: getattr(item.attachment, name) for name in _STATED}
    told |= {"words": item.words, "unread": item.unread}
    if item.speech is not None:
        told |= {"language": item.speech.language, "heard_seconds": item.speech.duration}
    if data is not None:
        told["data"] = base64.b64encode(data).decode()
    return told


def _keep(transaction: Transaction, content: Content) -> None:
    values = {name: getattr(content, name) for name in _KEPT} | {"created_at": transaction.now}
    if content.speech is not None:
        values |= {"language": content.speech.language, "duration": content.speech.duration}
    transaction.execute(insert(transaction, contents).on_conflict_do_nothing(), values)


def _drop_unheld(transaction: Transaction, keys: Iterable[tuple[str, str]]) -> None:
    """Remove what was read in files that no message has any more."""
    for content, reader in sorted(keys):
        this = {"k_hash": content, "k_reader": reader}
        if transaction.shared:
            # Two who remove the last two holders at once would each see the other's: they take turns.
            transaction.execute(_LOCK, this)
        transaction.execute(_DROP_CONTENT, this)
