"""An entry says why another target led than its model's first."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Adds a column that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE entries ADD COLUMN downgraded TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the column."""
    op.execute("ALTER TABLE entries DROP COLUMN downgraded")
