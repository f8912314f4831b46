"""Scales: what calls teach about the tokens of a text."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds a column that the previous release neither reads nor writes. Rows without a key stand for all keys."""
    op.execute("ALTER TABLE expectations ADD COLUMN scales TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the column, and the rows that only it allowed."""
    op.execute("DELETE FROM expectations WHERE key_id = ''")
    op.execute("ALTER TABLE expectations DROP COLUMN scales")
