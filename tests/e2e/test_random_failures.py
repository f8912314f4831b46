"""Four quotas, two Envoys, a Redis, and a nemesis that kills and pauses each of them: limits still hold.

A minute of it here; `SPENDGATE_NEMESIS_S=600` makes it ten, and `SPENDGATE_NEMESIS_SEED` chooses other failures.
`-o log_cli=true -o log_cli_level=INFO` shows what happened.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.kernel.names import admitted_ms
from services.simulator.faults import Latency
from services.simulator.provider import Vendor
from tests.e2e.nemesis import Nemesis, Repeater, Victim
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.redis_process import RedisProcess
from tests.worlds.second_envoy import SecondEnvoy, second_envoy

SECONDS = float(os.environ.get("SPENDGATE_NEMESIS_S", "60"))
SEED = int(os.environ.get("SPENDGATE_NEMESIS_SEED", "1"))
QUOTAS = 4
CALLERS_OF_EACH = 4
MINUTE_MS = 60_000
PURSE_USD, MINUTE_USD = Decimal(1), Decimal("0.50")
CENT = Decimal("0.01")
BACK_WITHIN_S = 30.0
SETTLED_WITHIN_S = 90.0
# So that calls wait for their first byte, and are amid a stream, whenever something happens to them.
LATENCY = Latency(first_byte_p50_ms=60, first_byte_p95_ms=300, event_ms=4)

# $100 per million output tokens, input free: a call of 100 tokens is one cent.
CONFIGURATION = {
    "models": {name: {"targets": [f"openai/{name}"]} for name in ("purse", "minute", "free")},
    "prices": {f"openai/{name}": {"input": 0, "output": 100} for name in ("purse", "minute", "free")},
    "default_policies": False,
    "policies": [
        {"name": "purse", "match": {"key": "purse"}, "limits": [{"spend": 1, "per": "month"}]},
        {"name": "minute", "match": {"key": "minute"}, "limits": [{"spend": 0.5, "per": "minute"}]},
        {
            "name": "free",
            "match": {"key": "free"},
            "limits": [{"spend": 1000, "per": "month"}, {"concurrency": CALLERS_OF_EACH}],
        },
        {"name": "everybody", "limits": [{"spend": 1000, "per": "month"}, {"requests": 1_000_000, "per": "month"}]},
    ],
    "keys": [{"name": "purse"}, {"name": "minute"}, {"name": "free"}],
}
# The second one holds three times what it takes.
MOST_TOKENS = {"purse": 100, "minute": 300, "free": 100}

_log = logging.getLogger(__name__)

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(SECONDS + 300)]


@dataclass
class Play:
    """What the clients saw."""

    served: dict[str, str] = field(default_factory=dict)
    """Request ids of answers that came to their end, each with the key."""
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By key and code."""
    broken: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)


@pytest.mark.full
def test_whatever_dies_or_hangs_no_limit_is_exceeded_and_every_call_is_counted_once(
    tmp_path: Path, providers: Providers
) -> None:
    openai = providers.by_vendor[Vendor.OPENAI]
    openai.latency = LATENCY
    with RedisProcess() as redis:
        options: Any = {
            "environment": {"SPENDGATE_COUNTERS": redis.url, "SPENDGATE_DRIFT_CHECK_S": "1"},
            "arguments": ("--quota-replicas", str(QUOTAS)),
        }
        with run_gateway(tmp_path, CONFIGURATION, providers, **options) as gateway, second_envoy(gateway) as second:
            nemesis = Nemesis(_victims(gateway, redis, second), SEED)
            repeater = Repeater(gateway.data_dir, QUOTAS, SEED)
            with _load_on(gateway) as play, repeater.at_work():
                with nemesis.at_work():
                    time.sleep(SECONDS)
                _await_service(play)
            _await_parts(gateway)
            gateway.settle(timeout_s=SETTLED_WITHIN_S)
            _say(nemesis, repeater, play, gateway)
            _assert_all_was_tried(nemesis, repeater, play)
            _assert_each_call_is_booked_once(gateway, play, _reached(providers))
            _assert_limits_held(gateway, play)
            _assert_counters_are_the_ledger(gateway)


def _victims(gateway: Gateway, redis: RedisProcess, second: SecondEnvoy) -> dict[str, Victim]:
    def sends_to(name: str) -> Victim:
        return Victim(lambda sent: os.kill(gateway.pids()[name], sent))

    names = ["envoy", "ledger", "router", "quota", *(f"quota-{number}" for number in range(2, QUOTAS + 1))]
    return {
        **{name: sends_to(name) for name in names},
        "second envoy": Victim(second.signal, second.start_again),
        "redis": Victim(redis.signal, redis.start_again),
    }


@contextlib.contextmanager
def _load_on(gateway: Gateway) -> Iterator[Play]:
    """Calls without a pause while the block runs, half of them streaming."""
    play = Play()
    callers = [
        threading.Thread(target=_call_on, args=(gateway, key, play), kwargs={"stream": number % 2 == 0})
        for key in MOST_TOKENS
        for number in range(CALLERS_OF_EACH)
    ]
    for caller in callers:
        caller.start()
    try:
        yield play
    finally:
        play.stopping.set()
        for caller in callers:
            caller.join()


def _call_on(gateway: Gateway, key: str, play: Play, *, stream: bool) -> None:
    question = [{"role": "user", "content": "Answer in 100 tokens."}]
    ask = {"model": key, "messages": question, "max_tokens": MOST_TOKENS[key], "stream": stream}
    headers = {"authorization": f"Bearer {gateway.secret(key)}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as client:
        while not play.stopping.is_set():
            try:
                response = client.post("/v1/chat/completions", json=ask)
                _note(key, response, play)
            except httpx.TransportError:
                play.broken += 1
                time.sleep(0.1)


def _note(key: str, response: httpx.Response, play: Play) -> None:
    if response.status_code == 200:
        whole = response.text.rstrip().endswith(("[DONE]", "}"))
        assert whole, response.text[-200:]
        play.served[response.headers["x-request-id"]] = key
        return
    code = str(response.json()["error"]["code"])
    play.refused[key, code] += 1
    time.sleep(0.2 if code == "insufficient_quota" else 0.05)


def _await_service(play: Play) -> None:
    """Waits until keys with budget left are served again."""
    deadline = time.monotonic() + BACK_WITHIN_S
    served = len(play.served)
    while len(play.served) < served + 20:
        assert time.monotonic() < deadline, f"the service did not come back: {play.refused}, {play.broken} broken"
        time.sleep(0.1)


def _await_parts(gateway: Gateway) -> None:
    """A part that was killed often waits longer before its restart."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while gateway.run("status").returncode:
        assert time.monotonic() < deadline, "not every service came back"


def _reached(providers: Providers) -> Counter[str]:
    """How many calls of each key reached the provider, and thus its bill."""
    return Counter(str(request.document["model"]) for request in providers.requests(Vendor.OPENAI))


def _say(nemesis: Nemesis, repeater: Repeater, play: Play, gateway: Gateway) -> None:
    _log.info("seed %d, %.0f s: %s", SEED, SECONDS, dict(sorted(nemesis.done.items())))
    _log.info("served %s, broken %d, refused %s", Counter(play.served.values()), play.broken, dict(play.refused))
    _log.info("settlements repeated: %d", repeater.told)
    _log.info("adjustments: %s", Counter(each["reason"] for each in _adjustments(gateway)))


def _assert_all_was_tried(nemesis: Nemesis, repeater: Repeater, play: Play) -> None:
    assert len(nemesis.done) >= 2 * (QUOTAS + 5) - 4, nemesis.done
    assert repeater.told > len(play.served)
    assert repeater.ended_again == 0


def _assert_each_call_is_booked_once(gateway: Gateway, play: Play, reached: Counter[str]) -> None:
    calls = gateway.calls(limit=100_000)
    by_request = {call["request_id"]: call for call in calls}
    assert len({call["id"] for call in calls}) == len(calls) == len(by_request)
    missing = [request_id for request_id in play.served if request_id not in by_request]
    assert not missing
    booked = Counter(call["key"] for call in calls)
    estimated = Counter(call["key"] for call in calls if call["usage_source"] == "estimated")
    for key, count in reached.items():
        # Of a call whose Envoy died nobody knows whether it had left.
        assert count <= booked[key] <= count + estimated[key]
    for call in calls:
        # Near its limit a call is cut, and costs less.
        assert Decimal(call["cost_usd"]) == call["output_tokens"] * CENT / 100


def _assert_limits_held(gateway: Gateway, play: Play) -> None:
    spent: defaultdict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for call in gateway.calls(limit=100_000):
        at_ms = admitted_ms(call["id"])
        assert at_ms is not None
        spent[call["key"], at_ms // MINUTE_MS if call["key"] == "minute" else 0] += Decimal(call["cost_usd"])
    over = {window: amount for window, amount in spent.items() if amount > _limit_of(window[0])}
    assert not over
    # No client was told that a budget is spent while it was not.
    assert {key for key, code in play.refused if code == "insufficient_quota"} == {"purse", "minute"}
    # The budgets were really used: all of one was spent, and all but one call of the other in some minute.
    assert spent["purse", 0] > PURSE_USD - CENT
    assert max(amount for (key, _), amount in spent.items() if key == "minute") > MINUTE_USD - 3 * CENT


def _limit_of(key: str) -> Decimal:
    return {"purse": PURSE_USD, "minute": MINUTE_USD, "free": Decimal(1000)}[key]


def _assert_counters_are_the_ledger(gateway: Gateway) -> None:
    """To the last unit, and not because somebody had to repair them."""
    assert gateway.json("status")["quota"]["open_reservations"] == 0
    calls = gateway.calls(limit=100_000)
    cost: defaultdict[str, Decimal] = defaultdict(Decimal)
    for call in calls:
        cost[call["key"]] += Decimal(call["cost_usd"])
    budgets = {(each["policy"], each["limit_kind"]): each for each in gateway.budgets()}
    assert Decimal(budgets["purse", "spend"]["settled_usd"]) == cost["purse"]
    assert Decimal(budgets["free", "spend"]["settled_usd"]) == cost["free"]
    assert Decimal(budgets["everybody", "spend"]["settled_usd"]) == sum(cost.values())
    assert int(budgets["everybody", "requests"]["settled"]) == len(calls)
    drifted = [each for each in _adjustments(gateway) if each["reason"] == "drift"]
    assert not drifted, json.dumps(drifted, indent=1)


def _adjustments(gateway: Gateway) -> list[dict[str, Any]]:
    return list(gateway.json("adjustments", "--limit", "1000")["adjustments"])
