"""Histories made by hand. A call costs 50 cents at `lab/dear` and 5 cents at `lab/cheap`, unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.names import reservation_id
from services.kernel.usage import Usage
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.replay.replay import PastCall, Replay
from services.quota.domain.replay.report import ReplayReport
from services.quota.domain.routing.compile import Routes
from services.quota.domain.routing.plan import ModelPlan
from tests.worlds.quota import ADA, CENT, PLAN, PRICES, tier

# 2026-11-23T20:00:00Z
START_MS = 1_795_464_000_000
SECOND_MS = 1_000
HALF_A_DOLLAR = Usage(50_000, 50_000)
_HALF_PRICED = ModelPlan("half-priced", (tier(0, "lab/dear"), tier(7_500, "lab/unpriced")))
_PLAN = replace(PLAN, models={**PLAN.models, "half-priced": _HALF_PRICED})


def past(at_ms: int, **changes: Any) -> PastCall:
    """A call that began and was admitted `at_ms` after the start, and took a second."""
    began_at_ms = START_MS + at_ms
    facts: dict[str, Any] = {
        "id": reservation_id(began_at_ms, b"\1" * 8),
        "began_at_ms": began_at_ms,
        "end_at_ms": began_at_ms + SECOND_MS,
        "attribution": ADA,
        "model": "dear",
        "served": "lab/dear",
        "dialect": Dialect.OPENAI,
        "operation": Operation.CHAT,
        "run": "",
        "usage": HALF_A_DOLLAR,
        "cost_nano_usd": 50 * CENT,
        "has_unknown_members": False,
    }
    return PastCall(**{**facts, **changes})


def one_after_the_other(count: int, **changes: Any) -> list[PastCall]:
    """Calls of which each ends before the next begins."""
    return [past(number * 2 * SECOND_MS, **changes) for number in range(count)]


def replay(calls: list[PastCall], *policies: QuotaPolicy) -> ReplayReport:
    """The report on the calls under these policies."""
    replayed = Replay(policies, Routes(_PLAN, PRICES))
    for call in calls:
        replayed.add(call)
    return replayed.finish()


def outcome(report: ReplayReport) -> tuple[int, int, int]:
    """How many calls were allowed, degraded and denied."""
    return report.allowed, report.degraded, report.denied
