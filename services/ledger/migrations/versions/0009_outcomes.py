"""An entry records how its call ended."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds a column that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE entries ADD COLUMN outcome TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the column."""
    op.execute("ALTER TABLE entries DROP COLUMN outcome")
