"""`GET /v1/budget` shows the holder of a key what is left. The JSON is the same in every dialect."""

from __future__ import annotations

from services.kernel.clock import format_time
from services.kernel.money import format_usd
from services.quota.domain.policies.denial import Deny
from services.quota.transport.dialects.answer import HttpAnswer, Json, json_answer, request_id_headers
from services.quota.usecases.limit_levels import LimitLevel
from services.quota.usecases.own_budget import ReadOwnBudget

# Every call changes what is left.
_NOT_KEPT = ("cache-control", "no-store")


class BudgetEndpoint:
    """Answers with the limits of the presented key, tightest first."""

    def __init__(self, read: ReadOwnBudget) -> None:
        self._read = read

    def answer(self, credential: str, run: str, request_id: str) -> HttpAnswer | Deny:
        """The list. Amounts look like those of the command line: decimal strings under names that end in `_usd`."""
        limits = self._read(credential, run)
        if isinstance(limits, Deny):
            return limits
        body: dict[str, Json] = {"budgets": [_budget(own) for own in limits]}
        return json_answer(200, body, _NOT_KEPT, *request_id_headers(request_id))


def _budget(own: LimitLevel) -> Json:
    limit, (settled, reserved, doubt) = own.limit, own.level
    amounts = {
        "limit": limit.bound,
        "used": settled,
        "reserved": reserved,
        "doubt": doubt,
        "remaining": max(0, limit.bound - settled - reserved - doubt),
    }
    money = limit.kind.is_money
    window: dict[str, Json] = {}
    if limit.kind.has_window:
        window = {
            "window": limit.window.unit.value,
            "window_start": format_time(limit.counter.window_start_ms),
            "resets_at": format_time(limit.window_end_ms),
        }
    return {
        "policy": limit.counter.policy,
        "limit_kind": limit.kind.value,
        "scope": limit.counter.scope,
        **window,
        **{
            f"{name}_usd" if money else name: format_usd(amount) if money else amount
            for name, amount in amounts.items()
        },
    }
