"""Providers, models, and the backends that requests may be using."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for name in ("providers", "models", "backends"):
        op.create_table(
            name,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("document", sa.Text, nullable=False),
        )


def downgrade() -> None:
    for name in ("backends", "models", "providers"):
        op.drop_table(name)
