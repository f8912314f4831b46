"""Alerts about a provider that bills more than it was allowed.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes."""
    op.execute("ALTER TABLE alerts ADD COLUMN kind TEXT NOT NULL DEFAULT 'threshold'")
    op.execute("ALTER TABLE alerts ADD COLUMN excess BIGINT NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Drops them."""
    op.execute("ALTER TABLE alerts DROP COLUMN excess")
    op.execute("ALTER TABLE alerts DROP COLUMN kind")
