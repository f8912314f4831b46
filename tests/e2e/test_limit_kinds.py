"""Every kind of limit and window that is not a plain sum over a period of the calendar, from a real SDK."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from datetime import time as clock_time
from typing import Any
from zoneinfo import ZoneInfo

import openai
import pytest

from services.simulator.faults import Latency
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
# $100 per million output tokens: 100 tokens are one cent. Input is free.
CONFIGURATION: dict[str, Any] = {
    "models": {"exact": {"targets": ["openai/exact"]}},
    "prices": {"openai/exact": {"input": 0, "output": 100}},
    "policies": [
        {"name": "two-at-once", "match": {"key": "parallel"}, "limits": [{"concurrency": 2}]},
        {"name": "a-cent-each", "match": {"key": "capped"}, "limits": [{"request_cost": 0.01}]},
        {"name": "rolling", "match": {"key": "rolling"}, "limits": [{"requests": 2, "rolling": "24h"}]},
        {"name": "soft", "match": {"key": "soft"}, "limits": [{"spend": 0.04, "per": "month", "bound": "soft"}]},
        {"name": "each-run", "match": {"key": "loop"}, "limits": [{"spend": 0.02, "per": "run"}]},
        {
            "name": "calendar",
            "match": {"key": "calendar"},
            "limits": [
                {"requests": 2, "per": "week", "week_start": "sunday", "timezone": "Asia/Kolkata"},
                {"requests": 3, "per": "month", "anchor_day": 31},
                {"requests": 3, "per": "quarter"},
                {"requests": 3, "per": "year"},
                {"requests": 3, "per": "lifetime"},
            ],
        },
    ],
    "keys": [
        *({"name": name} for name in ("rolling", "calendar", "soft")),
        # Their limits do not bound the total that they can take.
        *({"name": name, "unlimited": True} for name in ("parallel", "capped", "loop")),
    ],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("limits"), CONFIGURATION, vendors) as running:
        yield running


def call(gateway: Gateway, key: str, *, max_tokens: int = 100, run: str = "") -> None:
    headers = {"x-spendgate-run": run} if run else {}
    gateway.openai(key).chat.completions.create(
        model="exact", messages=ASK, max_tokens=max_tokens, extra_headers=headers
    )


def test_no_more_calls_than_allowed_are_in_flight(gateway: Gateway, providers: Providers) -> None:
    providers.by_vendor[Vendor.OPENAI].latency = Latency(first_byte_p50_ms=1_500)
    outcomes: list[str] = []

    def ask() -> None:
        try:
            call(gateway, "parallel")
            outcomes.append("served")
        except openai.RateLimitError as refused:
            outcomes.append("refused" if "2 of 2 calls are in flight" in str(refused) else str(refused))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    providers.by_vendor[Vendor.OPENAI].latency = Latency()

    assert sorted(outcomes) == ["refused"] * 3 + ["served"] * 2
    gateway.settle()
    call(gateway, "parallel")


def test_a_call_that_may_cost_more_than_one_call_may_is_a_bad_request(gateway: Gateway) -> None:
    call(gateway, "capped")

    with pytest.raises(openai.BadRequestError) as refused:
        call(gateway, "capped", max_tokens=101)
    assert refused.value.code == "request_cost_limit_exceeded"
    call(gateway, "capped")


def test_a_rolling_window_counts_what_happened_within_its_length(gateway: Gateway) -> None:
    call(gateway, "rolling")
    call(gateway, "rolling")
    gateway.settle()

    with pytest.raises(openai.RateLimitError, match="2 of 2 requests used in the last 24 hours"):
        call(gateway, "rolling")
    assert gateway.budget("rolling")["settled"] == 2


def test_a_run_is_stopped_at_its_own_limit_and_the_next_goes_on(gateway: Gateway) -> None:
    call(gateway, "loop", run="first")
    call(gateway, "loop", run="first")
    gateway.settle()

    with pytest.raises(openai.RateLimitError) as refused:
        call(gateway, "loop", run="first")
    assert refused.value.code == "insufficient_quota"
    assert "each-run" in str(refused.value)
    call(gateway, "loop", run="second")
    call(gateway, "loop")
    scopes = {budget["scope"] for budget in gateway.budgets() if budget["policy"] == "each-run"}
    assert scopes == {"key=loop,run=first", "key=loop,run=second"}


def test_all_periods_of_the_calendar_count_side_by_side(gateway: Gateway) -> None:
    call(gateway, "calendar")
    call(gateway, "calendar")
    gateway.settle()

    with pytest.raises(openai.RateLimitError, match="2 of 2 requests used this week"):
        call(gateway, "calendar")
    counted = [budget for budget in gateway.budgets() if budget["policy"] == "calendar"]
    assert [budget["settled"] for budget in counted] == [2] * 5
    starts = {budget["limit_id"].split("/")[1]: datetime.fromisoformat(budget["window_start"]) for budget in counted}
    week, month = starts["week-sunday"], starts["month-31"]
    in_kolkata = week.astimezone(ZoneInfo("Asia/Kolkata"))
    assert (in_kolkata.isoweekday(), in_kolkata.time()) == (7, clock_time(0))
    # A month without a 31st begins on its last day.
    assert (month + timedelta(days=1)).day == 1


def test_a_soft_limit_lets_calls_in_flight_beyond_it_and_says_that_it_is_soft(gateway: Gateway) -> None:
    call(gateway, "soft")
    gateway.settle()

    # Without a bound it can take more than the limit, but typically takes a cent.
    answer = gateway.openai("soft").chat.completions.with_raw_response.create(model="exact", messages=ASK)
    assert "x-spendgate-output-capped" not in answer.headers
    gateway.settle()
    call(gateway, "soft", max_tokens=300)
    gateway.settle()
    with pytest.raises(openai.RateLimitError):
        call(gateway, "soft", max_tokens=300)
    explained = gateway.json("explain", "--key", "soft", "--model", "exact")
    assert [each["bound"] for each in explained["policies"]] == ["soft"]
