"""An estimated entry bounds its cost, and every entry records how much text of the answer was seen."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_COLUMNS = {
    "most_cost_nano_usd": "BIGINT",
    "most_input_tokens": "BIGINT",
    "most_output_tokens": "BIGINT",
    "answer_text_bytes": "BIGINT NOT NULL DEFAULT 0",
}


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes. Its entries have no doubt."""
    for name, kind in _COLUMNS.items():
        op.execute(f"ALTER TABLE entries ADD COLUMN {name} {kind}")


def downgrade() -> None:
    """Drops the columns."""
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE entries DROP COLUMN {name}")
