"""An alert names the call that caused it."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds a column that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE alerts ADD COLUMN call TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the column."""
    op.execute("ALTER TABLE alerts DROP COLUMN call")
