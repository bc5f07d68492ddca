"""Who was let in by the pairing code."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pairings",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("paired_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("platform", "person", name="pk_pairings"),
    )
