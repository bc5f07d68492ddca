"""Guilds: what is set for all of one, and which conversations are in it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "guilds",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("guild", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("persona", sa.Text(), nullable=True),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("transcripts", sa.Text(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("platform", "account", "guild", name="pk_guilds"),
    )
    op.add_column("conversations", sa.Column("guild", sa.Text(), nullable=False, server_default=sa.text("''")))
