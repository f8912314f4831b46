"""Admin tokens, overrides and the audit log."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = (
    """
    CREATE TABLE admin_tokens (
        name TEXT NOT NULL PRIMARY KEY,
        role TEXT NOT NULL,
        team TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        hint TEXT NOT NULL,
        create_at_ms INTEGER NOT NULL,
        expire_at_ms INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE overrides (
        name TEXT NOT NULL PRIMARY KEY,
        policy TEXT NOT NULL,
        limit_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        bound INTEGER NOT NULL,
        create_at_ms INTEGER NOT NULL,
        expire_at_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        UNIQUE (policy, limit_id, scope)
    )
    """,
    """
    CREATE TABLE audit_entries (
        sequence INTEGER NOT NULL PRIMARY KEY,
        time_ms BIGINT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        action TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        reason TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        request_id TEXT NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Creates the tables."""
    for table in _TABLES:
        op.execute(table)


def downgrade() -> None:
    """Drops the tables."""
    for table in ("audit_entries", "overrides", "admin_tokens"):
        op.drop_table(table)
