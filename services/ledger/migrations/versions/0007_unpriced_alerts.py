"""A window can have both an overrun and a call without a price, so alerts are unique by kind too."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_ONCE = ["policy", "limit", "scope", "window_start_ms", "basis_points"]


def upgrade() -> None:
    """Adds the kind to the constraint, which the previous release does not name."""
    _rebuild([*_ONCE, "kind"])


def downgrade() -> None:
    """Removes the kind from the constraint, and the rows that only it allowed."""
    op.execute("DELETE FROM alerts WHERE kind = 'unpriced'")
    _rebuild(_ONCE)


def _rebuild(once: list[str]) -> None:
    with op.batch_alter_table("alerts") as alerts:
        alerts.drop_constraint("alerts_once", type_="unique")
        alerts.create_unique_constraint("alerts_once", once)
