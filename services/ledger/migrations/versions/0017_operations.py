"""Entries and sums say what was asked of the model: a chat, vectors, a count of tokens ..."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

_KEYS = 'hour_ms, team, project, environment, user, "key", model_requested, model_served, status'
_COUNTS = "calls, input_tokens, cached_input_tokens, output_tokens, cost_nano_usd, unpriced_calls, retries"


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes. Nobody knows what earlier calls asked."""
    op.execute("ALTER TABLE entries ADD COLUMN operation TEXT NOT NULL DEFAULT ''")
    _rebuild(_KEYS + ", operation", "operation TEXT DEFAULT '' NOT NULL,")
    op.execute(f"INSERT INTO rebuilt ({_KEYS}, {_COUNTS}) SELECT {_KEYS}, {_COUNTS} FROM rollups")  # noqa: S608  (constants)
    _replace()


def downgrade() -> None:
    """Drops the columns, and adds up the sums that only one of them told apart."""
    op.execute("ALTER TABLE entries DROP COLUMN operation")
    _rebuild(_KEYS, "")
    sums = ", ".join(f"sum({name})" for name in _COUNTS.split(", "))
    op.execute(
        f"INSERT INTO rebuilt ({_KEYS}, {_COUNTS}) SELECT {_KEYS}, {sums} FROM rollups GROUP BY {_KEYS}"  # noqa: S608
    )
    _replace()


def _rebuild(keys: str, operation: str) -> None:
    """Makes the table anew, because SQLite cannot change the key of an existing one."""
    op.execute(
        f"""
        CREATE TABLE rebuilt (
            hour_ms BIGINT NOT NULL,
            team TEXT NOT NULL,
            project TEXT NOT NULL,
            environment TEXT NOT NULL,
            user TEXT NOT NULL,
            "key" TEXT NOT NULL,
            model_requested TEXT NOT NULL,
            model_served TEXT NOT NULL,
            status TEXT NOT NULL,
            calls BIGINT NOT NULL,
            input_tokens BIGINT NOT NULL,
            cached_input_tokens BIGINT NOT NULL,
            output_tokens BIGINT NOT NULL,
            cost_nano_usd BIGINT NOT NULL,
            unpriced_calls BIGINT NOT NULL,
            retries BIGINT DEFAULT '0' NOT NULL,
            {operation}
            PRIMARY KEY ({keys})
        ) WITHOUT ROWID
        """
    )


def _replace() -> None:
    op.execute("DROP TABLE rollups")
    op.execute("ALTER TABLE rebuilt RENAME TO rollups")
