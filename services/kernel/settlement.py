"""The terms in which quota and ledger settle calls that have ended.

The ledger reports what each call took, or the most that it can have taken if nobody measured that. Quota reports what
happened to its counters. The ledger adjusts a counter that differs from its entries.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from services.kernel.limit_kind import CallQuantities, LimitKind

UNBOUNDED = -1
# Far enough below zero that no other part of a sum lifts it.
_NO_BOUND = -(2**100)


class Most(NamedTuple):
    """The most that a call can take, or can have taken if nobody measured its end.

    `UNBOUNDED`: only its reservation bounds it.
    """

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int

    def of(self, kind: LimitKind) -> int | None:
        """The most that a limit of this kind can count of the call; None: no bound."""
        amount = kind.measure(CallQuantities(*(_NO_BOUND if each == UNBOUNDED else each for each in self)))
        return None if amount < 0 else amount


class CrossingKind(StrEnum):
    """What happened to a counter. It reports each threshold, and each other kind, once per window."""

    THRESHOLD = "threshold"
    """It passed a threshold."""
    OVERRUN = "overrun"
    """A call took more than it held in an enforced limit: a provider billed more than the request allowed."""
    UNPRICED = "unpriced"
    """An enforced limit on spend admitted a call whose cost is unknown."""
    UNKNOWN_MEMBERS = "unknown_members"
    """An enforced limit on spend admitted a call with members that the gateway does not know."""


def format_percent(basis_points: int) -> str:
    """A part of a limit as a number of percent, without its sign: "80", "99.5"."""
    whole, hundredths = divmod(basis_points, 100)
    return f"{whole}.{hundredths:02d}".rstrip("0").rstrip(".")


class AdjustmentReason(StrEnum):
    """Why a counter differed from the ledger's entries."""

    DRIFT = "drift"
    """The cause is unknown. This should not happen."""
    REBUILD = "rebuild"
    """The store lost the counters, and quota had just rebuilt them."""
    BACKFILL = "backfill"
    """The limit is new and must count what its window saw before."""
