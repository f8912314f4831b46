"""Adjustments of counters to what the ledger says."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_ADJUSTMENTS = """
    CREATE TABLE adjustments (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        policy TEXT NOT NULL,
        limit_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        window_start_ms INTEGER NOT NULL,
        window_end_ms INTEGER NOT NULL,
        settled_before INTEGER NOT NULL,
        settled_after INTEGER NOT NULL,
        reason TEXT NOT NULL,
        adjusted_at_ms INTEGER NOT NULL
    )
"""


def upgrade() -> None:
    """Creates the table."""
    op.execute(_ADJUSTMENTS)


def downgrade() -> None:
    """Drops the table."""
    op.execute("DROP TABLE adjustments")
