"""Doubts: what unmeasured calls may have taken beyond their settled amounts."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Adds a table that the previous release does not touch."""
    op.execute(
        "CREATE TABLE doubts (id TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, ends_first_ms INTEGER NOT NULL,"
        " request_id TEXT NOT NULL, epoch TEXT NOT NULL, record TEXT NOT NULL)"
    )
    op.execute("CREATE INDEX doubts_by_end ON doubts (ends_first_ms)")


def downgrade() -> None:
    """Drops the table."""
    op.execute("DROP TABLE doubts")
