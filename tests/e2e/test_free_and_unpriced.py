"""A price of zero is free; no price is unknown. An unknown model is refused before anything is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import SETTLE_TIMEOUT_S, Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

ASK: Any = [{"role": "user", "content": "Answer in 10 tokens."}]
CONFIGURATION = {
    "models": {
        "dear": {"targets": ["openai/dear"]},
        "gratis": {"targets": ["openai/gratis"]},
        "unpriced": {"targets": ["openai/nobody-knows-its-price"]},
        "passed-over": {
            "targets": ["openai/nobody-knows-its-price"],
            "fallbacks": [{"to": ["openai/gratis"]}],
        },
    },
    "channels": {"finance": {"url": "json://127.0.0.1:9"}},
    "prices": {"openai/dear": {"input": 100, "output": 100}, "openai/gratis": {"input": 0, "output": 0}},
    "policies": [
        {"name": "overdrawn", "match": {"environment": "prod"}, "limits": [{"spend": 0.10, "per": "month"}]},
        {
            "name": "lenient",
            "match": {"environment": "dev"},
            "limits": [{"spend": 1, "per": "month"}],
            "unpriced": "allow",
            "thresholds": [{"at": "80%", "notify": ["finance"]}],
        },
    ],
    "keys": [{"name": "strict", "environment": "prod"}, {"name": "lenient", "environment": "dev"}],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("unpriced"), CONFIGURATION, vendors) as running:
        yield running


def _ask(gateway: Gateway, key: str, model: str) -> None:
    gateway.openai(key).chat.completions.create(model=model, messages=ASK, max_tokens=20)


def _booked(gateway: Gateway, key: str, model: str) -> dict[str, Any]:
    before = len(gateway.calls())
    _ask(gateway, key, model)
    gateway.settle(calls=before + 1)
    # Such a call reserves nothing to wait for.
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while gateway.status().unsettled_calls:
        assert time.monotonic() < deadline, gateway.logs()
        time.sleep(0.05)
    return gateway.calls()[0]


@pytest.mark.parametrize(("model", "reason"), [("typo", "model_not_found"), ("unpriced", "unpriced_model")])
def test_at12_a_model_without_a_price_or_that_is_not_there_is_a_404_and_nothing_is_dispatched(
    gateway: Gateway, providers: Providers, model: str, reason: str
) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        _ask(gateway, "strict", model)
    error: Any = refused.value
    assert (error.code, error.param, error.body["details"]["reason"]) == ("model_not_found", "model", reason)
    assert not any(providers.requests(vendor) for vendor in Vendor)


def test_at31_a_price_of_zero_passes_where_less_than_no_money_is_left(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.OVERBILL, factor=100))
    overbilled = _booked(gateway, "strict", "dear")
    assert Decimal(overbilled["cost_usd"]) > Decimal("0.10")
    with pytest.raises(openai.RateLimitError):
        _ask(gateway, "strict", "dear")
    booked = _booked(gateway, "strict", "gratis")
    assert booked["cost_usd"] == "0.000000000"


def test_at12_what_a_policy_lets_through_without_a_price_costs_nobody_knows_what_and_is_reported_once(
    gateway: Gateway,
) -> None:
    booked = _booked(gateway, "lenient", "unpriced")
    assert booked["cost_usd"] is None
    assert gateway.usage("model")["total"]["unpriced_calls"] == 1
    assert gateway.budget("lenient")["settled_usd"] == "0.000000000"

    _booked(gateway, "lenient", "unpriced")
    (alert,) = [each for each in gateway.json("alerts", "list")["alerts"] if each["policy"] == "lenient"]
    assert (alert["kind"], alert["limit"]) == ("unpriced", "spend per month")
    assert (alert["call"], alert["target"], alert["key"]) == (booked["id"], "openai/nobody-knows-its-price", "lenient")
    assert (alert["threshold"], alert["recipients"]) == (None, ["finance"])


def test_a_first_target_that_is_passed_over_for_lack_of_a_price_is_named_wherever_one_looks(gateway: Gateway) -> None:
    explained = gateway.json("explain", "--key", "strict", "--model", "passed-over")
    assert explained["target"] == "openai/gratis"
    assert "Skipped because they have no price: openai/nobody-knows-its-price." in explained["reason"]
    problems = {route["model"]: route["problem"] for route in gateway.json("routes")["routes"]}
    passed_over = (
        "openai/nobody-knows-its-price has no price, so calls under a limit on spend always go to openai/gratis"
    )
    assert problems == {"dear": None, "gratis": None, "unpriced": None, "passed-over": passed_over}
    examined = json.loads(gateway.run("doctor", "--json").stdout)
    (finding,) = [check for check in examined["checks"] if check["name"] == "prices of model passed-over"]
    assert (finding["level"], finding["text"]) == ("warn", passed_over)
