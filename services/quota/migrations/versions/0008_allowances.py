"""What calls took of allowances during a failure of the counter store, and their holds in the counters."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds tables that the previous release does not touch."""
    op.execute(
        "CREATE TABLE allowances (policy TEXT NOT NULL, day_start_ms INTEGER NOT NULL, quota INTEGER NOT NULL,"
        " taken_nano_usd INTEGER NOT NULL, PRIMARY KEY (policy, day_start_ms, quota)) WITHOUT ROWID"
    )
    op.execute(
        "CREATE TABLE kept_reservations (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, request_id TEXT NOT NULL,"
        " epoch TEXT NOT NULL, record TEXT NOT NULL, taken_nano_usd INTEGER NOT NULL)"
    )


def downgrade() -> None:
    """Drops the tables."""
    op.execute("DROP TABLE kept_reservations")
    op.execute("DROP TABLE allowances")
