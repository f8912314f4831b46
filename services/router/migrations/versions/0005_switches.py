"""Who leads each model, what is known of sick targets, and switches that the ledger does not have yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = ("left_slots", "out_targets", "noted_leads", "unreported_switches")


def upgrade() -> None:
    """Creates the tables."""
    for name in _TABLES:
        op.create_table(
            name,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("document", sa.Text, nullable=False),
        )


def downgrade() -> None:
    """Drops the tables."""
    for name in _TABLES:
        op.drop_table(name)
