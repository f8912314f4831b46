"""A target that fails or is slow is left for another, and leads again once it is well. With the real Envoy."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

ERRORS = {"error_rate": "20%", "over": "10s"}
SLOW = {"latency_p95": "2s", "over": "10s"}
SLOW_START = {"ttft_p95": "2s", "over": "10s"}


def route(when: Any, first: str = "openai/first") -> dict[str, Any]:
    return {"targets": [first], "fallbacks": [{"to": ["anthropic/second"], "when": when}], "first_byte_timeout": "60s"}


CONFIGURATION = {
    "models": {
        "errors": route(ERRORS, "openai/errors"),
        "restarted": route(ERRORS, "openai/restarted"),
        "latency": route(SLOW, "openai/latency"),
        "ttft": route(SLOW_START, "openai/ttft"),
        "any": route({"any": [{"budget_used": "75%"}, ERRORS]}, "openai/any"),
        "all": route({"all": [{"budget_used": "75%"}, ERRORS]}, "openai/all"),
        "limited": {"targets": ["openai/limited"], "fallbacks": [{"to": ["anthropic/second"]}]},
        "drained": {"targets": ["openai/drained"], "fallbacks": [{"to": ["anthropic/second"]}]},
    },
    "prices": {
        **{f"openai/{name}": {"input": 0, "output": 100} for name in (
            "errors", "restarted", "latency", "ttft", "any", "all", "limited", "drained",
        )},
        "anthropic/second": {"input": 0, "output": 1},
    },
    "channels": {"ops": {"url": "mailto://ops@example.com"}},
    "policies": [
        {
            "name": "everybody",
            "limits": [{"spend": 1000, "per": "month"}],
            "thresholds": [{"at": "80%", "notify": ["ops"]}],
        }
    ],
    "keys": [{"name": "app"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("health"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(providers: Providers) -> None:
    """Each test starts with providers that behave."""


@dataclass
class Callers:
    """Calls at a steady rate, and what came of them."""

    statuses: list[int] = field(default_factory=list)
    leads: list[tuple[float, str, str]] = field(default_factory=list)
    """When the answer came, who served, and why another than the first."""

    def served(self, seconds: float) -> list[str]:
        """Who served in the latest seconds."""
        since = time.monotonic() - seconds
        return [target for at, target, _ in self.leads if at >= since]

    def wait_for(self, target: str, within_s: float) -> float:
        """Waits until the last five calls were served by `target`; the seconds that took."""
        start = time.monotonic()
        while True:
            latest = [served for _, served, _ in self.leads if _ is not None][-5:]
            begun = [at for at, _, _ in self.leads if at >= start]
            if len(begun) >= 5 and latest == [target] * 5:
                return time.monotonic() - start
            assert time.monotonic() - start < within_s, f"after {within_s} s {latest} serve, not {target}"
            time.sleep(0.05)


@contextmanager
def calling(gateway: Gateway, model: str, per_second: int = 5) -> Iterator[Callers]:
    """Calls a model at a rate until the block ends, each call in a thread of its own."""
    callers, stop, threads = Callers(), threading.Event(), list[threading.Thread]()
    client = gateway.http("app", timeout=60, limits=httpx.Limits(max_connections=200))
    ask = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}

    def call() -> None:
        response = client.post("/v1/chat/completions", json=ask)
        callers.statuses.append(response.status_code)
        headers = response.headers
        served, reason = headers.get("x-spendgate-model-served", ""), headers.get("x-spendgate-downgraded", "")
        callers.leads.append((time.monotonic(), served, reason))

    def keep_calling() -> None:
        for _ in itertools.count():
            if stop.wait(1 / per_second):
                return
            threads.append(threading.Thread(target=call))
            threads[-1].start()

    pacer = threading.Thread(target=keep_calling)
    pacer.start()
    try:
        yield callers
    finally:
        stop.set()
        pacer.join()
        for thread in threads:
            thread.join(60)


def told_of(gateway: Gateway, model: str) -> list[tuple[str, str, list[str], list[str], list[str]]]:
    """The alerts of a model's switches, oldest first."""
    alerts = gateway.json("alerts", "list", "--limit", "1000")["alerts"]
    return [
        (alert["direction"], alert["reason"], alert["previous"], alert["leads"], alert["recipients"])
        for alert in reversed(alerts)
        if alert["kind"] == "switch" and alert["model"] == model
    ]


def each_way(model: str, reason: str) -> list[tuple[str, str, list[str], list[str], list[str]]]:
    """One alert away from the first target, and one back."""
    first, second = [f"openai/{model}"], ["anthropic/second"]
    return [("left", reason, first, second, ["ops"]), ("returned", reason, second, first, ["ops"])]


def wait_until_told(gateway: Gateway, model: str, expected: list[Any]) -> None:
    deadline = time.monotonic() + 10
    while (told := told_of(gateway, model)) != expected:
        assert time.monotonic() < deadline, told
        time.sleep(0.2)


def half_failing(model: str) -> list[Fault]:
    """Every second request fails, for long enough."""
    sick, well = Fault(FaultKind.STATUS, status=500, model=model), Fault(FaultKind.NO_USAGE, model=model)
    return [sick, well] * 500


def test_a_half_failing_target_is_left_within_ten_seconds_and_leads_again_after_recovery(
    gateway: Gateway, providers: Providers
) -> None:
    with calling(gateway, "errors") as callers:
        callers.wait_for("openai/errors", 10)
        providers.fault(Vendor.OPENAI, *half_failing("errors"))
        sick_at = time.monotonic()
        while not any(reason == "errors" for _, _, reason in callers.leads):
            assert time.monotonic() - sick_at < 10
            time.sleep(0.05)
        providers.requests(Vendor.OPENAI).clear()
        time.sleep(5)
        # Only probes, at most one a second.
        assert 1 <= len(providers.requests(Vendor.OPENAI)) <= 6
        providers.by_vendor[Vendor.OPENAI].faults.clear()
        callers.wait_for("openai/errors", 30)
    assert set(callers.statuses) == {200}
    assert callers.leads[-1][2] == ""
    wait_until_told(gateway, "errors", each_way("errors", "errors"))
    booked = gateway.json("calls", "list", "--limit", "1000", "--where", "model=errors")["calls"]
    assert {(call["decision"], call["downgraded"]) for call in booked} == {("allow", None), ("downgrade", "errors")}
    downgraded = next(call for call in booked if call["downgraded"])
    shown = gateway.run("calls", "show", downgraded["id"]).stdout
    assert "errors: attempts at the target that leads otherwise had failed" in shown


def kill(gateway: Gateway, name: str) -> None:
    """Kills a service, and waits until another process has its place."""
    pid = gateway.pids()[name]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while gateway.pids().get(name, pid) == pid:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_switch_is_told_once_although_the_ledger_and_the_router_die(gateway: Gateway, providers: Providers) -> None:
    with calling(gateway, "restarted") as callers:
        callers.wait_for("openai/restarted", 10)
        kill(gateway, "ledger")
        providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500, times=None, model="restarted"))
        start = time.monotonic()
        while not any(reason == "errors" for _, _, reason in callers.leads):
            assert time.monotonic() - start < 10
            time.sleep(0.05)
        kill(gateway, "router")
        providers.requests(Vendor.OPENAI).clear()
        back, calls = time.monotonic(), len(callers.leads)
        while len(callers.leads) < calls + 25:
            time.sleep(0.05)
        # The new router goes on with the fallback: the sick target gets probes and nothing else.
        seconds = time.monotonic() - back
        assert len(providers.requests(Vendor.OPENAI)) <= seconds + 2
        assert set(callers.served(seconds)) == {"anthropic/second"}
        providers.by_vendor[Vendor.OPENAI].faults.clear()
        callers.wait_for("openai/restarted", 30)
    assert set(callers.statuses) == {200}
    wait_until_told(gateway, "restarted", each_way("restarted", "errors"))


@pytest.mark.parametrize("model", ["latency", pytest.param("ttft", marks=pytest.mark.full)])
def test_a_slow_target_is_left_within_ten_seconds_and_leads_again_after_recovery(
    gateway: Gateway, providers: Providers, model: str
) -> None:
    with calling(gateway, model) as callers:
        callers.wait_for(f"openai/{model}", 10)
        slow = Fault(FaultKind.SLOW_FIRST_BYTE, delay_ms=10_000, times=None, model=model)
        providers.fault(Vendor.OPENAI, slow)
        callers.wait_for("anthropic/second", 10)
        assert callers.leads[-1][2] == "latency"
        providers.by_vendor[Vendor.OPENAI].faults.clear()
        callers.wait_for(f"openai/{model}", 30)
    assert set(callers.statuses) == {200}
    wait_until_told(gateway, model, each_way(model, "latency"))


def test_any_leaves_by_errors_alone_and_all_does_not(gateway: Gateway, providers: Providers) -> None:
    with calling(gateway, "any") as either, calling(gateway, "all") as both:
        either.wait_for("openai/any", 10)
        both.wait_for("openai/all", 10)
        for model in ("any", "all"):
            providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500, times=None, model=model))
        providers.requests(Vendor.OPENAI).clear()
        either.wait_for("anthropic/second", 10)
        while not any(reason == "errors" for _, _, reason in either.leads):
            time.sleep(0.05)
        time.sleep(3)
        # Nothing of the budget is used, so each call still tries the failing target first, and is then served.
        assert {reason for _, _, reason in both.leads} == {""}
        assert set(both.served(2)) == {"anthropic/second"}
    assert {*either.statuses, *both.statuses} == {200}


def test_a_target_whose_provider_asks_to_stay_away_is_left_alone_for_as_long(
    gateway: Gateway, providers: Providers
) -> None:
    with calling(gateway, "limited") as callers:
        callers.wait_for("openai/limited", 10)
        providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=429, retry_after_s=4, model="limited"))
        callers.wait_for("anthropic/second", 4)
        before = len(providers.requests(Vendor.OPENAI))
        time.sleep(1)
        assert len(providers.requests(Vendor.OPENAI)) == before
        callers.wait_for("openai/limited", 8)
    assert set(callers.statuses) == {200}


def test_a_target_is_drained_and_let_in_again_under_load_without_a_failed_request(
    gateway: Gateway, providers: Providers
) -> None:
    with calling(gateway, "drained", per_second=40) as callers:
        callers.wait_for("openai/drained", 10)
        gateway.json("routes", "drain", "openai/drained")
        callers.wait_for("anthropic/second", 10)
        before = len(providers.requests(Vendor.OPENAI))
        fared = {target["target"]: target for target in gateway.json("routes")["targets"]}
        assert fared["openai/drained"]["drained_since"]
        time.sleep(1)
        assert len(providers.requests(Vendor.OPENAI)) == before
        gateway.json("routes", "undrain", "openai/drained")
        callers.wait_for("openai/drained", 10)
    assert set(callers.statuses) == {200}
    assert len(callers.statuses) > 40
    wait_until_told(gateway, "drained", each_way("drained", "drained"))


def test_the_last_target_of_a_model_is_drained_only_by_force(gateway: Gateway) -> None:
    refused = gateway.run("routes", "drain", "anthropic/second")
    assert refused.returncode == 0, refused.stderr
    refused = gateway.run("routes", "drain", "openai/drained")
    assert refused.returncode == 1
    assert "last usable target of drained" in refused.stderr
    assert gateway.json("routes", "drain", "openai/drained", "--force")["models_without_target"] == ["drained"]
    client = gateway.http("app")
    ask = {"model": "drained", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    deadline = time.monotonic() + 10
    while (answer := client.post("/v1/chat/completions", json=ask)).status_code == 200:
        assert time.monotonic() < deadline
    assert answer.status_code == 503
    assert "an operator has taken all of its targets out" in answer.text
    for target in ("openai/drained", "anthropic/second"):
        gateway.json("routes", "undrain", target)
