"""Recordings: the language and the length of what was heard; and files that are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("contents", sa.Column("language", sa.Text(), nullable=True))
    op.add_column("contents", sa.Column("duration", sa.Double(), nullable=True))
    op.add_column("contents", sa.Column("data", sa.LargeBinary(), nullable=True))
