"""One request of an application is one request in the reports, however often the gateway or an SDK had to try."""

from __future__ import annotations

from collections.abc import Iterator
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
        "alone": {"targets": ["openai/alone"]},
        "chained": {"targets": ["openai/first", "openai/second"]},
    },
    "prices": {target: {"input": 0, "output": 100} for target in ("openai/alone", "openai/first", "openai/second")},
    "policies": [
        {"name": name, "match": {"key": name}, "limits": [{"requests": 2, "per": "month"}]}
        for name in ("chained", "retrying")
    ],
    "keys": [{"name": "chained"}, {"name": "retrying"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
FAILS_ONCE = Fault(FaultKind.STATUS, status=500)


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("retries"), CONFIGURATION, vendors) as running:
        yield running


def test_at21_the_attempts_of_the_gateway_are_one_row_and_one_request(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, FAILS_ONCE)
    before = int(gateway.usage()["total"]["calls"])
    gateway.openai("chained").chat.completions.create(model="chained", messages=ASK, max_tokens=100)
    gateway.settle(calls=before + 1)

    call = gateway.calls()[0]
    assert [attempt["status"] for attempt in call["attempts"]] == [500, 200]
    # What ended in an error was not billed.
    assert [attempt["cost_usd"] for attempt in call["attempts"]] == ["0.000000000", call["cost_usd"]]
    assert Decimal(call["cost_usd"]) == Decimal("0.01")
    assert (call["retry_of"], call["retries"]) == (None, 0)
    assert gateway.budget("chained")["settled"] == 1


def test_at21_what_an_sdk_sends_again_is_folded_in_reports_and_counted_in_limits(
    gateway: Gateway, providers: Providers
) -> None:
    before = gateway.usage()["total"]
    providers.fault(Vendor.OPENAI, FAILS_ONCE)
    client = gateway.openai("retrying", max_retries=2)
    client.chat.completions.create(model="alone", messages=ASK, max_tokens=100)
    gateway.settle(calls=int(before["calls"]) + 2)

    second, first = gateway.calls(limit=2)
    assert (first["status"], second["status"]) == (500, 200)
    assert (second["retry_of"], second["retry_count"]) == (first["id"], 1)
    assert (first["retry_of"], first["retries"]) == (None, 1)
    total = gateway.usage()["total"]
    assert (total["calls"] - before["calls"], total["logical_calls"] - before["logical_calls"]) == (2, 1)
    assert Decimal(total["cost_usd"]) - Decimal(before["cost_usd"]) == Decimal("0.01")
    assert gateway.budget("retrying")["settled"] == 2
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="alone", messages=ASK, max_tokens=100)
