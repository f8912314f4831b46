"""The audit log: what was changed, and by whom."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXTS = ("actor", "role", "action", "kind", "name", "reason", "before", "after", "request_id")


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
    )


def downgrade() -> None:
    op.drop_table("audit_entries")
