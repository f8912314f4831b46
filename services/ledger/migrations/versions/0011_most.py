"""An entry that is estimated says how much it can be at most, and every one how much text was seen of the answer.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = {
    "most_cost_nano_usd": "BIGINT",
    "most_input_tokens": "BIGINT",
    "most_output_tokens": "BIGINT",
    "answer_text_bytes": "BIGINT NOT NULL DEFAULT 0",
}


def upgrade() -> None:
    """Adds columns that the previous release neither reads nor writes. What it booked has no doubt."""
    for name, kind in _COLUMNS.items():
        op.execute(f"ALTER TABLE entries ADD COLUMN {name} {kind}")


def downgrade() -> None:
    """Takes them away."""
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE entries DROP COLUMN {name}")
