"""Entries keep every meter of a call and the service tier; price overrides have rates by meter."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ADDED = {"entries": ("meters", "service_tier"), "price_overrides": ("rates", "service_tiers")}


def upgrade() -> None:
    """Adds columns with a default, which the previous release does not name."""
    for table, names in _ADDED.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drops the columns."""
    for table, names in _ADDED.items():
        for name in names:
            op.drop_column(table, name)
