"""When calls were admitted, and sums of settled calls to compare quota's counters with."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.kernel.names import admitted_ms

revision = "0005"
down_revision = "0004"

_SUM = """
    INSERT INTO settled_sums
    SELECT admitted_ms - admitted_ms % 3600000, run, team, project, environment, "user", "key", model_requested,
        count(*), sum(input_tokens), sum(output_tokens), sum(coalesce(cost_nano_usd, 0)), sum(cost_nano_usd IS NULL)
    FROM entries WHERE settled_ms IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""


def upgrade() -> None:
    op.add_column("entries", sa.Column("admitted_ms", sa.BigInteger, nullable=False, server_default="0"))
    connection: Any = op.get_bind().connection.driver_connection
    connection.create_function("admitted_ms", 1, admitted_ms, deterministic=True)
    op.execute("UPDATE entries SET admitted_ms = coalesce(admitted_ms(id), time_ms)")
    op.create_index("entries_by_admission", "entries", ["admitted_ms"])
    texts = ("run", "team", "project", "environment", "user", "key", "model")
    numbers = ("calls", "input_tokens", "output_tokens", "cost_nano_usd", "unpriced_calls")
    op.create_table(
        "settled_sums",
        sa.Column("hour_ms", sa.BigInteger, primary_key=True),
        *(sa.Column(name, sa.Text, primary_key=True) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        sqlite_with_rowid=False,
    )
    op.create_index("settled_sums_by_run", "settled_sums", ["run"], sqlite_where=sa.text("run != ''"))
    op.execute(_SUM)
    op.create_table("checked_limits", sa.Column("name", sa.Text, primary_key=True))
