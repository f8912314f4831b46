"""Crossings report overruns, too: a provider billed more than the request allowed."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE crossings ADD COLUMN kind TEXT NOT NULL DEFAULT 'threshold'")
    op.execute("ALTER TABLE crossings ADD COLUMN excess BIGINT NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Drops the columns."""
    op.execute("ALTER TABLE crossings DROP COLUMN excess")
    op.execute("ALTER TABLE crossings DROP COLUMN kind")
