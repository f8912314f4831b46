from __future__ import annotations

import pytest

from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.quota.domain.policies.limit_status import LimitStatus
from services.quota.transport.limit_headers import budget_headers, format_duration, limit_headers

NOON_MS = 1_795_521_600_000
HOUR_MS = 3_600_000


def status(kind: LimitKind, remaining: int, policy: str = "p") -> LimitStatus:
    return LimitStatus(policy, "team=a", kind, 10, remaining, NOON_MS + HOUR_MS)


@pytest.mark.parametrize(
    ("length_ms", "text"),
    [(1, "1s"), (1_000, "1s"), (59_001, "1m0s"), (360_000, "6m0s"), (HOUR_MS, "1h0m0s"), (26 * HOUR_MS + 1, "26h0m1s")],
)
def test_a_duration_is_written_as_openai_writes_it_and_never_too_short(length_ms: int, text: str) -> None:
    assert format_duration(length_ms) == text


def test_the_tightest_limit_on_any_tokens_is_the_one_on_tokens() -> None:
    limit_statuses = [status(LimitKind.OUTPUT_TOKENS, 1), status(LimitKind.TOKENS, 2), status(LimitKind.SPEND, 3)]
    assert dict(limit_headers(Dialect.OPENAI, limit_statuses, NOON_MS)) == {
        "x-ratelimit-limit-tokens": "10",
        "x-ratelimit-remaining-tokens": "1",
        "x-ratelimit-reset-tokens": "1h0m0s",
    }
    told = dict(limit_headers(Dialect.ANTHROPIC, limit_statuses, NOON_MS))
    assert told["anthropic-ratelimit-tokens-remaining"] == told["anthropic-ratelimit-output-tokens-remaining"] == "1"
    assert "anthropic-ratelimit-input-tokens-limit" not in told


def test_money_is_reported_in_dollars_and_anything_else_as_a_count() -> None:
    assert dict(budget_headers(status(LimitKind.SPEND, 1_500_000_000)))["x-spendgate-budget-remaining"] == "1.500000000"
    assert dict(budget_headers(status(LimitKind.REQUESTS, 7)))["x-spendgate-budget-remaining"] == "7"
