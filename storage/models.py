"""The tables. Times are microseconds since 1970 UTC; states and roles are the text of their enum.

    conversations 1 --- n messages (a tree by `parent`)
         |                  |  `answer`: by which answer an assistant's message was written
         1 ---------- n answers (`question`) 1 --- n sent_parts
         messages 1 --- n attachments n --- 1 contents (by the hash of the bytes, and by what read them)
    events: what was received, without content; stays when the message goes, so that a redelivery brings nothing back
            (after /forgetme under a digest of its chat, whose name a person may have chosen)
    usage:  counters by day, person and model
    pairings: who was let in by the pairing code
    guilds: what is set for all conversations of a guild that have nothing of their own; they name it (`guild`)
    notes:  what an adapter has to know after a restart, without content: how far it has heard, which menus it has set
    api_keys: who may use the API, by the digest of a secret that is kept nowhere; a revoked one stays, so that its name in
            the counters is known
    api_usage: counters of the API by day, caller, the user that the caller names, endpoint and model
    kept_completions: what programs asked to keep, for the retention time

Invariants, kept by the modules of this package:
- An answer is open while `closed_at` is null, in progress while `lease_until` is not null, and `ready` if it is the
  first open one of its conversation and waits. At most one is in progress per conversation.
- A message is in the tree if it is `placed`; a waiting question or group talk is not yet.
- An answer that `leads` takes the line to where its question stands; a `side_branch` leaves the line alone.
- A message has attachments if it is `attached`. What was read in a file goes with the last attachment that holds it.
- `kept` is the finished answer while it is open; of a closed one it is what stands on the platform, where its last message says
  something else, and goes with the question.
- An answer has a question that is kept, or has written a message that is: none is left without its conversation.
- Ids are never used twice (AUTOINCREMENT, a sequence), so that a dangling number in `events` finds nothing else.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    false,
    text,
)

from bot.cleaning import clean

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}
"""Every constraint has a name, so that a later migration can change it on both databases."""


class CleanText(TypeDecorator[str]):
    """Text that passed `clean`, whether it is stored or compared with."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Called for every value on its way to the database."""
        return None if value is None else str(clean(value))  # a StrEnum becomes the text that it is


Id = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts ids up only in a column of exactly this type."""

metadata = MetaData(naming_convention=NAMING)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, CleanText(), nullable=False, **options)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False, server_default=false())


events = Table(
    "events",
    metadata,
    _text("platform", primary_key=True),
    _text("account", primary_key=True),
    _text("chat", primary_key=True),
    _text("event_id", primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("message", BigInteger),
    Column("seen_at", BigInteger, nullable=False),
    Index("ix_events_seen_at", "seen_at"),
    sqlite_with_rowid=False,
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Id, primary_key=True),
    _text("platform"),
    _text("account"),
    _text("chat"),
    _text("thread"),
    _flag("direct"),
    Column("person", CleanText()),
    Column("head", BigInteger),
    Column("first_day", Date, nullable=False),
    Column("model", CleanText()),
    Column("persona", CleanText()),
    Column("system_prompt", CleanText()),
    Column("retention_days", Integer),
    Column("transcripts", CleanText()),
    _text("title", server_default=text("''")),
    Column("created_at", BigInteger, nullable=False),
    _text("guild", server_default=text("''")),
    UniqueConstraint("platform", "account", "chat", "thread"),
    Index(
        "ix_conversations_person",
        "person",
        sqlite_where=text("person IS NOT NULL"),
        postgresql_where=text("person IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True),
    Column("conversation", ForeignKey("conversations.id"), nullable=False),
    Column("parent", ForeignKey("messages.id", deferrable=True, initially="DEFERRED")),
    Column("answer", BigInteger),
    _text("role"),
    _text("state"),
    _flag("placed"),
    _flag("window_start"),
    _flag("attached"),
    Column("created_at", BigInteger, nullable=False),
    Column("author_id", CleanText()),
    Column("author_name", CleanText()),
    Column("event_id", CleanText()),
    Column("event", Text),
    Column("model", CleanText()),
    _count("prompt_tokens"),
    _count("cached_tokens"),
    _count("completion_tokens"),
    Column("token_ids", LargeBinary),
    _text("text"),
    Index("ix_messages_parent", "parent"),
    Index("ix_messages_conversation", "conversation", "created_at"),
    Index(
        "ix_messages_roots",
        "conversation",
        sqlite_where=text("parent IS NULL AND placed = 1"),
        postgresql_where=text("parent IS NULL AND placed"),
    ),
    Index(
        "ix_messages_waiting",
        "conversation",
        "id",
        sqlite_where=text("placed = 0"),  # SQLite takes a partial index only for the very words of its condition
        postgresql_where=text("NOT placed"),
    ),
    Index(
        "ix_messages_author",
        "author_id",
        sqlite_where=text("author_id IS NOT NULL"),
        postgresql_where=text("author_id IS NOT NULL"),
    ),
    Index(
        "ix_messages_answer",
        "answer",
        sqlite_where=text("answer IS NOT NULL"),
        postgresql_where=text("answer IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

contents = Table(
    "contents",
    metadata,
    _text("hash", primary_key=True),
    _text("reader", primary_key=True),
    _text("media_type"),
    Column("size", BigInteger, nullable=False),
    _text("words"),
    Column("language", CleanText()),
    Column("duration", Double),
    Column("data", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
)

attachments = Table(
    "attachments",
    metadata,
    Column("message", ForeignKey("messages.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("kind"),
    _text("name"),
    _text("media_type"),
    Column("size", BigInteger),
    _text("reference"),
    Column("duration", Double),
    Column("hash", CleanText()),
    Column("reader", CleanText()),
    Column("unread", CleanText()),
    ForeignKeyConstraint(["hash", "reader"], ["contents.hash", "contents.reader"]),
    Index(
        "ix_attachments_content",
        "hash",
        "reader",
        sqlite_where=text("hash IS NOT NULL"),
        postgresql_where=text("hash IS NOT NULL"),
    ),
)

READ_IN = and_(contents.c.hash == attachments.c.hash, contents.c.reader == attachments.c.reader)
"""What was read in an attachment."""

answers = Table(
    "answers",
    metadata,
    Column("id", Id, primary_key=True),
    # No foreign key: to remove a conversation would walk through all answers, or cost each message one more index.
    Column("conversation", BigInteger, nullable=False),
    Column("question", ForeignKey("messages.id")),
    _text("platform"),
    _text("account"),
    Column("position", BigInteger, nullable=False),
    _text("state"),
    _flag("ready"),
    _count("attempt"),
    Column("owner", CleanText()),
    Column("lease_until", BigInteger),
    _flag("retry"),
    _flag("side_branch"),
    _flag("leads"),
    _flag("stopped"),
    Column("received_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("kept", Text),
    Index("ix_answers_question", "question"),
    Index(
        "ix_answers_open",
        "conversation",
        "position",
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    Index(
        "ix_answers_ready",
        "position",
        "platform",
        "account",
        sqlite_where=text("ready = 1"),
        postgresql_where=text("ready"),
    ),
    Index(
        "ix_answers_in_progress",
        "conversation",
        sqlite_where=text("lease_until IS NOT NULL"),
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
    Index(
        "ix_answers_lease",
        "lease_until",
        sqlite_where=text("lease_until IS NOT NULL"),
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

sent_parts = Table(
    "sent_parts",
    metadata,
    Column("answer", ForeignKey("answers.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("nonce"),
    Column("platform", CleanText()),
    Column("account", CleanText()),
    Column("chat", CleanText()),
    Column("thread", CleanText()),
    Column("message_id", CleanText()),
    Index(
        "ix_sent_parts_message",
        "message_id",
        "chat",
        sqlite_where=text("message_id IS NOT NULL"),
        postgresql_where=text("message_id IS NOT NULL"),
    ),
    Index(
        "ix_sent_parts_in_flight",
        "nonce",
        sqlite_where=text("message_id IS NULL"),
        postgresql_where=text("message_id IS NULL"),
    ),
)

usage = Table(
    "usage",
    metadata,
    _text("platform", primary_key=True),
    _text("author", primary_key=True),
    Column("day", Date, primary_key=True),
    _text("model", primary_key=True),
    _count("messages"),
    _count("prompt_tokens"),
    _count("cached_tokens"),
    _count("completion_tokens"),
)

pairings = Table(
    "pairings",
    metadata,
    _text("platform", primary_key=True),
    _text("person", primary_key=True),
    Column("paired_at", BigInteger, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    _text("platform", primary_key=True),
    _text("account", primary_key=True),
    _text("name", primary_key=True),
    _text("value"),
)

guilds = Table(
    "guilds",
    metadata,
    _text("platform", primary_key=True),
    _text("account", primary_key=True),
    _text("guild", primary_key=True),
    Column("model", CleanText()),
    Column("persona", CleanText()),
    Column("system_prompt", CleanText()),
    Column("retention_days", Integer),
    Column("transcripts", CleanText()),
    Column("trigger", CleanText()),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    _text("name"),
    Column("digest", LargeBinary, nullable=False),
    _text("hint"),
    _text("organisation"),
    _text("models"),
    _count("requests_per_minute"),
    _count("tokens_per_day"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("used_at", BigInteger),
    UniqueConstraint("digest"),
    Index(
        "ix_api_keys_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

api_usage = Table(
    "api_usage",
    metadata,
    _text("caller", primary_key=True),
    Column("day", Date, primary_key=True),
    _text("named_user", primary_key=True),
    _text("endpoint", primary_key=True),
    _text("model", primary_key=True),
    _text("name"),
    _count("requests"),
    _count("prompt_tokens"),
    _count("cached_tokens"),
    _count("completion_tokens"),
    Column("seconds", Double, nullable=False, server_default=text("0")),
)

kept_completions = Table(
    "kept_completions",
    metadata,
    _text("id", primary_key=True),
    _text("caller"),
    _text("model"),
    Column("created_at", BigInteger, nullable=False),
    _text("messages"),
    _text("completion"),
    _text("metadata"),
    Index("ix_kept_completions_caller", "caller", "created_at", "id"),
    Index("ix_kept_completions_created_at", "created_at"),
)
