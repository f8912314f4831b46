"""Alerts about a provider that bills more than it was allowed."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE alerts ADD COLUMN kind TEXT NOT NULL DEFAULT 'threshold'")
    op.execute("ALTER TABLE alerts ADD COLUMN excess BIGINT NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Drops the columns."""
    op.execute("ALTER TABLE alerts DROP COLUMN excess")
    op.execute("ALTER TABLE alerts DROP COLUMN kind")
