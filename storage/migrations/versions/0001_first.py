"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _conversations()
    _events()
    _usage()
    _messages()
    _attachments()
    _answers()
    _sent_parts()


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("direct", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("head", sa.BigInteger(), nullable=True),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("persona", sa.Text(), nullable=True),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        sa.UniqueConstraint("platform", "account", "chat", "thread", name="uq_conversations_platform"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_person", "conversations", ["person"], **_where(sa.text("person IS NOT NULL")))


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("platform", "account", "chat", "event_id", "revision", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_events_seen_at", "events", ["seen_at"])


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("messages", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("platform", "author", "day", "model", name="pk_usage"),
    )


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation", ID, nullable=False),
        sa.Column("parent", ID, nullable=True),
        sa.Column("answer", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("placed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("window_start", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("attached", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("event", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("token_ids", sa.LargeBinary(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["conversation"], ["conversations.id"], name="fk_messages_conversation"),
        sa.ForeignKeyConstraint(
            ["parent"], ["messages.id"], name="fk_messages_parent", initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_answer", "messages", ["answer"], **_where(sa.text("answer IS NOT NULL")))
    op.create_index("ix_messages_author", "messages", ["author_id"], **_where(sa.text("author_id IS NOT NULL")))
    op.create_index("ix_messages_conversation", "messages", ["conversation", "created_at"])
    op.create_index("ix_messages_parent", "messages", ["parent"])
    op.create_index(
        "ix_messages_roots",
        "messages",
        ["conversation"],
        **_where(sa.text("parent IS NULL AND placed"), sqlite="parent IS NULL AND placed = 1"),
    )
    op.create_index(
        "ix_messages_waiting", "messages", ["conversation", "id"], **_where(sa.text("NOT placed"), sqlite="placed = 0")
    )


def _attachments() -> None:
    op.create_table(
        "contents",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", "reader", name="pk_contents"),
    )
    op.create_table(
        "attachments",
        sa.Column("message", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=True),
        sa.Column("reader", sa.Text(), nullable=True),
        sa.Column("unread", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name="fk_attachments_message"),
        sa.ForeignKeyConstraint(["hash", "reader"], ["contents.hash", "contents.reader"], name="fk_attachments_hash"),
        sa.PrimaryKeyConstraint("message", "number", name="pk_attachments"),
    )
    op.create_index("ix_attachments_content", "attachments", ["hash", "reader"], **_where(sa.text("hash IS NOT NULL")))


def _answers() -> None:
    op.create_table(
        "answers",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation", sa.BigInteger(), nullable=False),
        sa.Column("question", ID, nullable=True),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ready", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("retry", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("side_branch", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("leads", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("stopped", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("kept", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["question"], ["messages.id"], name="fk_answers_question"),
        sa.PrimaryKeyConstraint("id", name="pk_answers"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_answers_in_progress", "answers", ["conversation"], **_where(sa.text("lease_until IS NOT NULL")))
    op.create_index("ix_answers_lease", "answers", ["lease_until"], **_where(sa.text("lease_until IS NOT NULL")))
    op.create_index("ix_answers_open", "answers", ["conversation", "position"], **_where(sa.text("closed_at IS NULL")))
    op.create_index("ix_answers_question", "answers", ["question"])
    op.create_index(
        "ix_answers_ready",
        "answers",
        ["position", "platform", "account"],
        **_where(sa.text("ready"), sqlite="ready = 1"),
    )


def _sent_parts() -> None:
    op.create_table(
        "sent_parts",
        sa.Column("answer", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("chat", sa.Text(), nullable=True),
        sa.Column("thread", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["answer"], ["answers.id"], name="fk_sent_parts_answer"),
        sa.PrimaryKeyConstraint("answer", "number", name="pk_sent_parts"),
    )
    op.create_index("ix_sent_parts_in_flight", "sent_parts", ["nonce"], **_where(sa.text("message_id IS NULL")))
    op.create_index(
        "ix_sent_parts_message", "sent_parts", ["message_id", "chat"], **_where(sa.text("message_id IS NOT NULL"))
    )


def _where(condition: sa.TextClause, *, sqlite: str | None = None) -> dict[str, Any]:
    """A partial index's condition; SQLite uses the index only for statements that have it in these very words."""
    return {"sqlite_where": sa.text(sqlite) if sqlite else condition, "postgresql_where": condition}
