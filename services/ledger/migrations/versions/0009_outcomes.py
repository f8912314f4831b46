"""An entry records how its call ended.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE entries ADD COLUMN outcome TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops it."""
    op.execute("ALTER TABLE entries DROP COLUMN outcome")
