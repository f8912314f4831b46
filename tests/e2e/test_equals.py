"""Equals of a slot are spares for one another: a call that fails at one of them goes on to the other, then further."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

REVOKED = "REVOKED_OPENAI_KEY"
REVOKED_KEY = "sk-revoked-0123456789"
_OUT_WITHIN_S = 10.0
ASK: Any = [{"role": "user", "content": "Answer in 5 tokens."}]


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    openai = vendors.configuration["openai"]
    dead = {**openai, "base_url": "http://127.0.0.1:9/v1"}
    targets = ("openai/m", "openai/spare", "revoked/m", "dead/m", "anthropic/m")
    configuration = {
        "providers": {
            **vendors.configuration,
            "revoked": {**openai, "api_key": {"env": REVOKED}},
            "dead": dead,
        },
        "models": {
            "refused-equal": {"targets": [[{"revoked/m": 1000}, {"openai/m": 1}], "anthropic/m"]},
            "dead-equal": {"targets": [[{"dead/m": 1000}, {"openai/m": 1}], "anthropic/m"]},
            "all-equals-fail": {"targets": [[{"revoked/m": 1000}, {"dead/m": 1}], "anthropic/m"]},
            "busy-equal": {"targets": [["openai/spare", "anthropic/m"]]},
        },
        "prices": {target: {"input": 1, "output": 5} for target in targets},
        "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}]}],
        "keys": [{"name": "app"}],
    }
    with run_gateway(
        tmp_path_factory.mktemp("equals"), configuration, vendors, environment={REVOKED: REVOKED_KEY}
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(providers: Providers) -> None:
    """Each test starts with providers that behave."""


@pytest.mark.parametrize("model", ["refused-equal", "dead-equal"])
def test_a_call_that_one_equal_fails_goes_on_to_the_other_before_the_next_slot(
    gateway: Gateway, providers: Providers, model: str
) -> None:
    assert [served_by(gateway, model) for _ in range(5)] == ["openai/m"] * 5
    assert providers.requests(Vendor.ANTHROPIC) == []


def test_when_no_equal_serves_the_next_slot_does(gateway: Gateway) -> None:
    raw = gateway.openai("app").chat.completions.with_raw_response.create(
        model="all-equals-fail", messages=ASK, max_tokens=20
    )
    assert raw.headers["x-spendgate-model-served"] == "anthropic/m"
    assert raw.headers["x-spendgate-attempts"] == "3"


def test_an_equal_that_asks_to_stay_away_gets_no_call_for_that_long(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=429, retry_after_s=3600, model="spare"))
    deadline = time.monotonic() + _OUT_WITHIN_S
    # The plan takes a moment from the router to quota. By chance, so many calls in a row take it once in a million.
    while [served_by(gateway, "busy-equal") for _ in range(20)] != ["anthropic/m"] * 20:
        assert time.monotonic() < deadline
    assert is_out(gateway, "openai/spare")


def served_by(gateway: Gateway, model: str) -> str:
    """Who serves a call now."""
    raw = gateway.openai("app").chat.completions.with_raw_response.create(model=model, messages=ASK, max_tokens=20)
    return raw.headers["x-spendgate-model-served"]


def is_out(gateway: Gateway, target: str) -> bool:
    """Whether a target takes no call for a while."""
    return any(one["target"] == target and one["out_until"] for one in gateway.json("routes")["targets"])


def test_a_test_of_a_provider_shows_what_calls_will_meet_and_is_charged_to_nobody(
    gateway: Gateway, providers: Providers
) -> None:
    before = gateway.settle()
    good = gateway.json("providers", "test", "openai", "--model", "m")
    (received,) = providers.requests(Vendor.OPENAI)
    assert (good["ok"], good["status"], good["served_model"], good["priced"]) == (True, 200, "m", True)
    assert (good["input_tokens"] > 0, good["output_tokens"] > 0, good["booked"]) == (True, True, False)
    assert (received.path, received.document["model"]) == ("/v1/chat/completions", "m")
    for vendor in ("anthropic", "gemini"):
        assert gateway.json("providers", "test", vendor, "--model", "m")["ok"]

    revoked, dead = gateway.run("providers", "test", "revoked"), gateway.run("providers", "test", "dead")
    assert (revoked.returncode, dead.returncode) == (1, 1)
    assert f"refuses the credential from environment variable {REVOKED}" in revoked.stdout
    assert "nobody answers at 127.0.0.1:9: Connection refused" in dead.stdout
    for shown in (revoked, dead):
        assert REVOKED_KEY not in shown.stdout + shown.stderr
    assert gateway.settle() == before
