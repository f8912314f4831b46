"""Dropped headers are counted."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Adds a table that the previous release does not know."""
    op.execute(
        """
        CREATE TABLE dropped_headers (
            day_ms BIGINT NOT NULL,
            provider TEXT NOT NULL,
            direction TEXT NOT NULL,
            name TEXT NOT NULL,
            calls BIGINT NOT NULL,
            PRIMARY KEY (day_ms, provider, direction, name)
        ) WITHOUT ROWID
        """
    )


def downgrade() -> None:
    """Drops the table."""
    op.execute("DROP TABLE dropped_headers")
