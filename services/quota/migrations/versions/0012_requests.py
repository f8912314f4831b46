"""Requests that clients may repeat, so that a lost answer is not lost for good."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "requests",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("actor", "method")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("digest", "salt")),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("requests")
