"""A window can have both an overrun and a call without a price, so crossings are unique by kind, too."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_COLUMNS = (
    "sequence, policy, limit_id, scope, window_start_ms, basis_points, limit_text, notify, crossed_at_ms, settled,"
    " bound, kind, excess, reservation"
)


def upgrade() -> None:
    """Adds the kind to the constraint, which the previous release does not name."""
    _rebuild(", kind")


def downgrade() -> None:
    """Removes the kind from the constraint, and the rows that only it allowed."""
    op.execute("DELETE FROM crossings WHERE kind = 'unpriced'")
    _rebuild("")


def _rebuild(kind: str) -> None:
    """Rebuilds the table, because SQLite cannot change a constraint of an existing one."""
    op.execute(
        f"""
        CREATE TABLE rebuilt (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            policy TEXT NOT NULL,
            limit_id TEXT NOT NULL,
            scope TEXT NOT NULL,
            window_start_ms INTEGER NOT NULL,
            basis_points INTEGER NOT NULL,
            limit_text TEXT NOT NULL,
            notify TEXT NOT NULL,
            crossed_at_ms INTEGER NOT NULL,
            settled INTEGER NOT NULL,
            bound INTEGER NOT NULL,
            kind TEXT NOT NULL DEFAULT 'threshold',
            excess BIGINT NOT NULL DEFAULT 0,
            reservation TEXT NOT NULL DEFAULT '',
            UNIQUE (policy, limit_id, scope, window_start_ms, basis_points{kind})
        )
        """
    )
    op.execute(f"INSERT INTO rebuilt ({_COLUMNS}) SELECT {_COLUMNS} FROM crossings")  # noqa: S608  (our own constant)
    op.execute("DROP TABLE crossings")
    op.execute("ALTER TABLE rebuilt RENAME TO crossings")
