"""Two routers that see one switch tell people once."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

_COLUMNS = ("router", "same_as")


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes. Switches so far are told each for itself."""
    for column in _COLUMNS:
        op.execute(f"ALTER TABLE switches ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")


def downgrade() -> None:
    """Drops the columns."""
    for column in _COLUMNS:
        op.execute(f"ALTER TABLE switches DROP COLUMN {column}")
