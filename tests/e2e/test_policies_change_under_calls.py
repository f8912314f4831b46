"""`spendgate apply` renames, adds and narrows policies while fifty calls are in flight: their room stays theirs."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, amount, run_gateway
from tests.worlds.redis_process import RedisProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

# $100 per million output tokens: 100 tokens are one cent. Input is free.
BODY: Any = {
    "model": "exact",
    "messages": [{"role": "user", "content": "Answer in 100 tokens."}],
    "max_tokens": 100,
}
CENT = Decimal("0.01")
IN_FLIGHT, BEFORE, ROOM = 50, 5, 5
THRESHOLDS = [{"at": "5%", "notify": ["finance"]}, {"at": "50%", "notify": ["finance"]}]
TEAM: dict[str, Any] = {
    "name": "before",
    "match": {"team": "ds"},
    "limits": [{"spend": 0.60, "per": "month"}],
    "thresholds": THRESHOLDS,
}
CONFIGURATION: dict[str, Any] = {
    "models": {"exact": {"targets": ["openai/exact"]}},
    "prices": {"openai/exact": {"input": 0, "output": 100}},
    "teams": {"ds": {}},
    "channels": {"finance": {"url": "json://127.0.0.1:9/finance"}},
    "policies": [TEAM, {"name": "wide", "limits": [{"spend": 10, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds"}],
}
# One policy is renamed, one is narrowed to exactly these calls, and one is new.
CHANGED = [
    {**TEAM, "name": "after"},
    {"name": "wide", "match": {"model": "exact"}, "limits": [{"spend": 10, "per": "month"}]},
    {"name": "fresh", "match": {"team": "ds"}, "limits": [{"spend": 0.60, "per": "month"}]},
]


@pytest.fixture(params=["sqlite", "redis"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path, vendors: Providers) -> Iterator[Gateway]:
    environment = {"SPENDGATE_DRIFT_CHECK_S": "1"}
    arguments: tuple[str, ...] = ()
    if request.param == "redis":
        redis: RedisProcess = request.getfixturevalue("redis")
        environment["SPENDGATE_COUNTERS"] = redis.url
        arguments = ("--quota-replicas", "2")
    with run_gateway(tmp_path, CONFIGURATION, vendors, environment=environment, arguments=arguments) as running:
        yield running


def eventually(holds: Callable[[], bool], gateway: Gateway, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, gateway.logs()
        time.sleep(0.05)


def call(gateway: Gateway) -> int:
    """The status of a call. A machine that is busy for 100 ms looks like a hanging Redis, so such a call is
    repeated."""
    while True:
        status = gateway.http("app", timeout=60).post("/v1/chat/completions", json=BODY).status_code
        if status != 503:
            return status
        time.sleep(0.1)


@contextmanager
def calls_in_flight(gateway: Gateway, count: int, statuses: list[int]) -> Iterator[None]:
    """This many calls, each in a thread, which end with the block."""

    def ask() -> None:
        statuses.append(call(gateway))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        yield


def counter_of(gateway: Gateway, policy: str) -> dict[str, Any]:
    """The current counter of a policy. A narrowed policy also has an old one."""
    (found,) = [each for each in gateway.budgets() if each["policy"] == policy and each["scope"] != "organization"]
    return found


def apply(gateway: Gateway, folder: Path, policies: list[dict[str, Any]]) -> None:
    document = json.loads((folder / "spendgate.yaml").read_text())
    changed = folder / "changed.yaml"
    changed.write_text(json.dumps({**document, "policies": policies}))
    done = gateway.run("apply", "-f", str(changed), environment={"KEY_APP": gateway.secret("app")})
    assert done.returncode == 0, done.stderr


def test_calls_in_flight_count_in_policies_that_change_under_them(
    gateway: Gateway, tmp_path: Path, vendors: Providers
) -> None:
    for _ in range(BEFORE):
        assert call(gateway) == 200
    gateway.settle(BEFORE)
    vendors.fault(Vendor.OPENAI, Fault(FaultKind.SLOW_FIRST_BYTE, times=IN_FLIGHT, delay_ms=12_000))
    first: list[int] = []
    second: list[int] = []
    with calls_in_flight(gateway, IN_FLIGHT, first):
        eventually(lambda: amount(gateway.budget("before"), "reserved") == IN_FLIGHT * CENT, gateway)
        apply(gateway, tmp_path, CHANGED)

        renamed = gateway.budget("after")
        assert (amount(renamed, "settled"), amount(renamed, "reserved")) == (BEFORE * CENT, IN_FLIGHT * CENT)
        for name in ("wide", "fresh"):
            assert amount(counter_of(gateway, name), "reserved") == IN_FLIGHT * CENT
        eventually(lambda: amount(gateway.budget("fresh"), "settled") == BEFORE * CENT, gateway)
        assert first == []
        with calls_in_flight(gateway, 3 * ROOM, second):
            pass
    gateway.settle(BEFORE + IN_FLIGHT + ROOM)

    assert Counter(first) == {200: IN_FLIGHT}
    assert Counter(second) == {200: ROOM, 429: 2 * ROOM}
    for name in ("after", "fresh", "wide"):
        budget = counter_of(gateway, name)
        settled, reserved = amount(budget, "settled"), amount(budget, "reserved")
        assert (settled, reserved) == ((BEFORE + IN_FLIGHT + ROOM) * CENT, Decimal(0)), name
    checked = gateway.status().checked_counters
    eventually(lambda: gateway.status().checked_counters >= min(checked, 3), gateway)
    assert [each for each in gateway.json("adjustments")["adjustments"] if each["reason"] == "drift"] == []
    assert gateway.status().drift_nano_usd == 0
    told = [each for each in gateway.json("alerts", "list")["alerts"] if each["policy"] in {"before", "after"}]
    assert len(told) == len(THRESHOLDS), told
