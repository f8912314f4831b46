"""When the first target fails, the second serves in the same request: both are on record, one call is booked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "chat": {
            "targets": ["openai/first"],
            "fallbacks": [{"to": ["anthropic/second"]}],
            "first_byte_timeout": "2s",
        },
        "patient": {"targets": ["openai/first"], "fallbacks": [{"to": ["anthropic/second"]}]},
        "alone": {"targets": ["openai/first"]},
    },
    "prices": {
        "openai/first": {"input": 0, "output": 100},
        "anthropic/second": {"input": 0, "output": 200},
    },
    "policies": [{"name": "everybody", "limits": [{"spend": 1000, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
FAILURES: dict[str, Fault | None] = {
    "500": Fault(FaultKind.STATUS, status=500),
    "503": Fault(FaultKind.STATUS, status=503),
    # Without `retry-after`, which would take the target out for the tests that follow.
    "429": Fault(FaultKind.STATUS, status=429),
    "refuses": None,
    "hangs": Fault(FaultKind.SLOW_FIRST_BYTE, delay_ms=20_000),
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("fallback"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(providers: Providers) -> None:
    """Each test starts with providers that behave."""


@pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])
@pytest.mark.parametrize("failure", FAILURES)
def test_the_second_target_serves_in_the_same_request(
    gateway: Gateway, providers: Providers, failure: str, stream: bool
) -> None:
    before = _settled_and_calls(gateway)
    fault = FAILURES[failure]
    if fault is None:
        providers.listeners[Vendor.OPENAI].close()
    else:
        providers.fault(Vendor.OPENAI, fault)
    raw = gateway.openai("app").chat.completions.with_raw_response.create(
        model="chat", messages=ASK, max_tokens=500, stream=stream
    )
    if stream:
        chunks: Any = raw.parse()
        assert list(chunks)[-1].choices[0].finish_reason == "stop"
    assert raw.headers["x-spendgate-model-served"] == "anthropic/second"
    assert raw.headers["x-spendgate-attempts"] == "2"
    assert len(providers.requests(Vendor.ANTHROPIC)) == 1
    _assert_one_call_of_two_attempts(gateway, failure, *before)


def _settled_and_calls(gateway: Gateway) -> tuple[Decimal, int]:
    (budget,) = gateway.settle()
    return Decimal(budget["settled_usd"]), int(gateway.usage()["total"]["calls"])


def _assert_one_call_of_two_attempts(
    gateway: Gateway, failure: str, settled_before: Decimal, calls_before: int
) -> None:
    settled, calls = _settled_and_calls(gateway)
    assert calls == calls_before + 1
    newest = gateway.calls(limit=1)[0]
    first, second = newest["attempts"]
    assert (first["target"], second["target"]) == ("openai/first", "anthropic/second")
    assert (first["status"], second["status"]) == (int(failure) if failure.isdecimal() else 0, 200)
    assert Decimal(second["cost_usd"]) == Decimal("0.02")
    # A target that hung may have done the work, and nobody will ever say: its part is estimated. The others refused it.
    assert (Decimal(first["cost_usd"]) > 0) == (failure == "hangs")
    cost = Decimal(newest["cost_usd"])
    assert cost == Decimal(first["cost_usd"]) + Decimal(second["cost_usd"])
    assert settled - settled_before == cost


def test_the_body_that_the_second_target_gets_is_the_clients_own(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500))
    gateway.openai("app").chat.completions.create(
        model="chat", messages=ASK, max_tokens=77, temperature=0.25, metadata={"kept": "yes"}
    )
    (first,), (second,) = providers.requests(Vendor.OPENAI), providers.requests(Vendor.ANTHROPIC)
    assert (first.document.pop("model"), second.document.pop("model")) == ("first", "second")
    for received in (first, second):
        assert received.document["temperature"] == 0.25
        assert received.document["metadata"] == {"kept": "yes"}
        assert received.document["messages"] == ASK
    assert (first.attempt, second.attempt) == (1, 2)
    assert json.dumps(dict(second.headers)).count(providers.by_vendor[Vendor.OPENAI].api_key) == 0


def test_when_every_target_fails_the_client_is_told_so_once(gateway: Gateway, providers: Providers) -> None:
    for vendor in (Vendor.OPENAI, Vendor.ANTHROPIC):
        providers.fault(vendor, Fault(FaultKind.STATUS, status=500, times=None))
    with pytest.raises(openai.InternalServerError):
        gateway.openai("app").chat.completions.create(model="chat", messages=ASK, max_tokens=100)
    assert len(providers.requests(Vendor.OPENAI)) == len(providers.requests(Vendor.ANTHROPIC)) == 1
    gateway.settle()
    newest = gateway.calls(limit=1)[0]
    assert [attempt["status"] for attempt in newest["attempts"]] == [500, 500]
    assert Decimal(newest["cost_usd"]) == 0


def test_two_hundred_calls_at_once_survive_a_dead_first_target(gateway: Gateway, providers: Providers) -> None:
    providers.listeners[Vendor.OPENAI].close()
    client = gateway.openai("app", timeout=60)

    def call(_number: int) -> str | None:
        return client.chat.completions.create(model="patient", messages=ASK, max_tokens=100).choices[0].finish_reason

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(call, range(200))) == ["stop"] * 200
    gateway.settle()


def test_a_cut_stream_reaches_the_client_as_cut_and_is_booked_as_estimated(
    gateway: Gateway, providers: Providers
) -> None:
    gateway.settle()
    providers.fault(Vendor.OPENAI, Fault(FaultKind.CUT, after_events=10))
    stream = gateway.openai("app").chat.completions.create(model="alone", messages=ASK, max_tokens=100, stream=True)
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    (budget,) = gateway.settle()
    newest = gateway.calls(limit=1)[0]
    assert newest["usage_source"] == "estimated"
    assert 0 < Decimal(newest["cost_usd"]) <= Decimal("0.01")
    assert Decimal(budget["settled_usd"]) == Decimal(gateway.usage()["total"]["cost_usd"])


def test_an_answer_without_usage_is_booked_as_estimated(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.NO_USAGE))
    gateway.openai("app").chat.completions.create(model="alone", messages=ASK, max_tokens=100)
    gateway.settle()
    newest = gateway.calls(limit=1)[0]
    assert newest["usage_source"] == "estimated"
    assert Decimal(newest["cost_usd"]) > 0
