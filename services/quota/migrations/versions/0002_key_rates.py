"""The typical spend of keys in a minute."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE key_rates (
            key_id TEXT NOT NULL PRIMARY KEY,
            usual_nano_usd INTEGER NOT NULL
        ) WITHOUT ROWID
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE key_rates")
