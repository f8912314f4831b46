"""Switches of who leads a model, for people to be told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "switches",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("time_ms", "booked_ms")),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("from_basis_points", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("direction", "reason")),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("previous_targets", "targets")),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("notify", sa.JSON, nullable=False),
        sa.Column("delivered_ms", sa.BigInteger),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("switches")
