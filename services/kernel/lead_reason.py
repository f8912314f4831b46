"""Why a call goes to another target than its model's first: in the plan, the call's answer, its line and its trace."""

from __future__ import annotations

from enum import StrEnum


class LeadReason(StrEnum):
    """Why another target leads."""

    BUDGET = "budget"
    """A part of the budget is used."""
    ERRORS = "errors"
    """Attempts at the target that would lead fail."""
    LATENCY = "latency"
    """Attempts at it take too long."""
