"""Deliveries of alerts to channels. Alerts of earlier releases, which sent none, are not sent late."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Creates the table, and marks each alert that exists."""
    for table in ("alerts", "switches"):
        op.add_column(table, sa.Column("planned", sa.Integer, nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET planned = 1")  # noqa: S608  (our own names)
        op.create_index(f"{table}_unplanned", table, ["sequence"], sqlite_where=sa.text("planned = 0"))
    op.create_table(
        "deliveries",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("alert", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("attempts", "due_ms")),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("problem", sa.Text, nullable=False),
        sa.UniqueConstraint("source", "alert", "channel", name="deliveries_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_waiting", "deliveries", ["due_ms"], sqlite_where=sa.text("state = 'waiting'"))


def downgrade() -> None:
    """Drops what `upgrade` added."""
    op.drop_table("deliveries")
    for table in ("alerts", "switches"):
        op.drop_index(f"{table}_unplanned", table)
        op.drop_column(table, "planned")
