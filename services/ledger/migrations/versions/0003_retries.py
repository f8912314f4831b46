"""Calls that an SDK repeats: what they repeat, and how many each sum has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("entries", sa.Column("body_print", sa.Text, nullable=False, server_default=""))
    op.add_column("entries", sa.Column("retry_of", sa.Text, nullable=False, server_default=""))
    op.add_column("rollups", sa.Column("retries", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index(
        "entries_repeatable",
        "entries",
        ["body_print", "time_ms"],
        sqlite_where=sa.text("status NOT BETWEEN 200 AND 399"),
    )
    op.create_index("entries_retries", "entries", ["retry_of"], sqlite_where=sa.text("retry_of != ''"))
