"""The API: keys, what is used of it, and completions that are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _keys()
    op.create_table(
        "api_usage",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("named_user", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
            for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
        ),
        sa.Column("seconds", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("caller", "day", "named_user", "endpoint", "model", name="pk_api_usage"),
    )
    op.create_table(
        "kept_completions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("completion", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_kept_completions"),
    )
    op.create_index("ix_kept_completions_caller", "kept_completions", ["caller", "created_at", "id"])
    op.create_index("ix_kept_completions_created_at", "kept_completions", ["created_at"])


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tokens_per_day", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        sqlite_autoincrement=True,
    )
    valid = sa.text("revoked_at IS NULL")
    op.create_index("ix_api_keys_name", "api_keys", ["name"], unique=True, sqlite_where=valid, postgresql_where=valid)
