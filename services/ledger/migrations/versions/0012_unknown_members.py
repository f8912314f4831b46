"""An entry records unknown members of its request, and options that change its price."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

_COLUMNS = ("unknown_members", "price_options")


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes."""
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE entries ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the columns."""
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE entries DROP COLUMN {name}")
