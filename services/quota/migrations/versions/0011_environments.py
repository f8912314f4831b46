"""Declared environments, unlimited keys, and secrets that rotations retired."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

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
    """Creates the tables, with the default environments."""
    for table in _TABLES:
        op.execute(table)
    op.execute("ALTER TABLE virtual_keys ADD COLUMN unlimited BOOLEAN NOT NULL DEFAULT 0")
    op.execute("INSERT INTO environments VALUES ('dev'), ('prod'), ('staging')")


def downgrade() -> None:
    """Drops the tables and the column."""
    op.execute("ALTER TABLE virtual_keys DROP COLUMN unlimited")
    for table in ("retired_secrets", "environments"):
        op.drop_table(table)
