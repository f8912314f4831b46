"""Declared environments, keys that are to be without limits, and secrets that were rotated away.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = (
    "CREATE TABLE environments (name TEXT NOT NULL PRIMARY KEY)",
    """
    CREATE TABLE retired_secrets (
        digest BLOB NOT NULL PRIMARY KEY,
        key TEXT NOT NULL,
        retire_at_ms INTEGER NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Makes the tables, with the environments that there are where none is declared."""
    for table in _TABLES:
        op.execute(table)
    op.execute("ALTER TABLE virtual_keys ADD COLUMN unlimited BOOLEAN NOT NULL DEFAULT 0")
    op.execute("INSERT INTO environments VALUES ('dev'), ('prod'), ('staging')")


def downgrade() -> None:
    """Drops them."""
    op.execute("ALTER TABLE virtual_keys DROP COLUMN unlimited")
    for table in ("retired_secrets", "environments"):
        op.drop_table(table)
