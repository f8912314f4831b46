"""Redis hangs under load: policies that state an allowance serve until it is used, the others refuse (AT15)."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal

import pytest

from services.kernel.money import NANO_PER_USD
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.load import ASK, Answer, Load, load_on, quota_pid
from tests.worlds.redis_process import RedisProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUOTAS = 2
ALLOWANCE_USD = Decimal("0.03")
CONFIGURATION = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "policies": [
        {
            "name": name,
            "match": {"key": name},
            "limits": [{"spend": 1000, "per": "month"}],
            "on_store_failure": failure,
        }
        for name, failure in {
            "app": {"serve_up_to": float(ALLOWANCE_USD)},
            "batch": {"serve_up_to": float(ALLOWANCE_USD)},
            "single": {"serve_up_to": float(ALLOWANCE_USD)},
            "strict": "deny",
        }.items()
    ],
    "keys": [{"name": name} for name in ("app", "batch", "single", "strict")],
}
STEADY_S = 1.0
# Calls that were on their way when Redis hung have their answers then.
HANGS_FOR_ALL_S = 0.5
USED_WITHIN_S = 30.0
BACK_WITHIN_S = 5.0
# A quota that was killed starts within this time, and Envoy notices.
RESTARTED_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, vendors: Providers, redis: RedisProcess) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("failing")
    environment = {"SPENDGATE_COUNTERS": redis.url}
    arguments = ("--quota-replicas", str(QUOTAS))
    with run_gateway(folder, CONFIGURATION, vendors, environment=environment, arguments=arguments) as running:
        yield running


def taken_usd(gateway: Gateway, policy: str) -> dict[int, Decimal]:
    """What each quota took of a policy's allowance."""
    with closing(sqlite3.connect(gateway.data_dir / "db" / "quota.sqlite")) as connection:
        rows = connection.execute(
            "SELECT quota, sum(taken_nano_usd) FROM allowances WHERE policy = ? GROUP BY quota", (policy,)
        ).fetchall()
    return {quota: Decimal(nano_usd) / NANO_PER_USD for quota, nano_usd in rows}


def cost_of_one_usd(gateway: Gateway, key: str) -> Decimal:
    """The cost of each call. All calls are equal."""
    (cost,) = {Decimal(call["cost_usd"]) for call in gateway.calls() if call["key"] == key}
    return cost


def assert_books_and_counters_agree(gateway: Gateway, key: str, served: int) -> None:
    gateway.settle()
    budget, (booked,) = gateway.budget(key), [row for row in gateway.usage("key")["usage"] if row["key"] == key]
    assert int(booked["calls"]) == served, Counter(call["status"] for call in gateway.calls() if call["key"] == key)
    assert Decimal(budget["settled_usd"]) == Decimal(booked["cost_usd"]) > 0
    assert Decimal(budget["reserved_usd"]) == 0


def is_served(answer: Answer) -> bool:
    return answer.status == 200


def await_used(load: Load, paused: float) -> float:
    """Waits until nothing is served any more, for a second. One quota may have used its share before the other one.

    Returns when that second began.
    """
    deadline = time.monotonic() + USED_WITHIN_S
    load.wait_for(lambda answer: not is_served(answer), paused + HANGS_FOR_ALL_S, USED_WITHIN_S)
    while load.statuses(since := time.monotonic() - STEADY_S)[200]:
        assert time.monotonic() < deadline, "the allowance has no end"
        time.sleep(0.1)
    return since


def test_at15_calls_go_on_until_the_allowance_is_used_and_all_of_them_are_booked(
    gateway: Gateway, redis: RedisProcess, providers: Providers
) -> None:
    with load_on(gateway) as load, load_on(gateway, "strict", callers=1) as strict:
        time.sleep(STEADY_S)
        redis.pause()
        paused = time.monotonic()
        try:
            used = await_used(load, paused)
        finally:
            redis.resume()
            resumed = time.monotonic()
        load.wait_for(is_served, resumed, BACK_WITHIN_S)
        strict.wait_for(is_served, resumed, BACK_WITHIN_S)
        time.sleep(STEADY_S)

    away = [answer for answer in load.answers if paused + HANGS_FOR_ALL_S < answer.at < resumed]
    served = sum(map(is_served, away))
    assert served > 0
    assert served * cost_of_one_usd(gateway, "app") <= sum(taken_usd(gateway, "app").values()) <= ALLOWANCE_USD
    assert max(taken_usd(gateway, "app").values()) <= ALLOWANCE_USD / QUOTAS

    refused = [answer for answer in load.answers if not is_served(answer)]
    assert {(answer.status, answer.code) for answer in refused} == {(503, "policy_unavailable")}
    assert all(answer.retry_after for answer in refused)
    later = [answer for answer in refused if used < answer.at < resumed]
    assert len(later) > QUOTAS
    assert statistics.median(answer.took_s for answer in later) < 0.05
    assert not [answer for answer in load.answers if is_served(answer) and used < answer.at < resumed]

    denied = [answer for answer in strict.answers if paused + HANGS_FOR_ALL_S < answer.at < resumed]
    assert {(answer.status, answer.code) for answer in denied} == {(503, "policy_unavailable")}
    assert taken_usd(gateway, "strict") == {}

    assert_books_and_counters_agree(gateway, "app", load.statuses()[200])
    assert_books_and_counters_agree(gateway, "strict", strict.statuses()[200])


def test_an_answer_without_counters_says_nothing_of_the_limits(
    gateway: Gateway, redis: RedisProcess, providers: Providers
) -> None:
    client = gateway.http("single")
    calls = int(gateway.usage()["total"]["calls"])
    known = client.post("/v1/chat/completions", json=ASK)
    assert "x-spendgate-budget-remaining" in known.headers
    redis.pause()
    try:
        unknown = client.post("/v1/chat/completions", json=ASK)
    finally:
        redis.resume()
    assert unknown.status_code == 200
    assert unknown.headers["x-spendgate-model-requested"] == "tiny"
    assert not [name for name in unknown.headers if "budget" in name or "ratelimit" in name or "policy" in name]
    # The second call reserves nothing until Redis is back, so an empty reservation does not prove that it is booked.
    gateway.settle(calls + 2)


def test_a_quota_that_is_killed_while_redis_is_away_grants_nothing_anew(
    gateway: Gateway, redis: RedisProcess, providers: Providers
) -> None:
    before = [call for call in gateway.calls() if call["key"] == "batch"]
    with load_on(gateway, "batch") as load:
        redis.pause()
        paused = time.monotonic()
        try:
            await_used(load, paused)
            killed = quota_pid(gateway, 2)
            os.kill(killed, signal.SIGKILL)
            deadline = time.monotonic() + RESTARTED_WITHIN_S
            while _is_same_or_gone(gateway, killed):
                assert time.monotonic() < deadline, "it was not started again"
                time.sleep(0.1)
            restarted = time.monotonic()
            time.sleep(4 * STEADY_S)
        finally:
            redis.resume()
            resumed = time.monotonic()
        load.wait_for(is_served, resumed, BACK_WITHIN_S)
        time.sleep(STEADY_S)
    answered = [answer for answer in load.answers if restarted + 2 * STEADY_S < answer.at < resumed]
    assert {answer.status for answer in answered} == {503}
    assert sum(taken_usd(gateway, "batch").values()) <= ALLOWANCE_USD
    assert_books_and_counters_agree(gateway, "batch", len(before) + load.statuses()[200])


def _is_same_or_gone(gateway: Gateway, killed: int) -> bool:
    try:
        return quota_pid(gateway, 2) == killed
    except (AssertionError, OSError):
        return True
