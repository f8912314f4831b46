"""An entry names the targets that could not carry its call."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Adds a column that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE entries ADD COLUMN left_out TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the column."""
    op.execute("ALTER TABLE entries DROP COLUMN left_out")
