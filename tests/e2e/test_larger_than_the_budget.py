"""A call of 400,000 tokens on a budget that nobody has touched is told what it needs, before anything was learned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.worlds.gateway import Gateway, Providers, amount, run_gateway

pytestmark = pytest.mark.e2e

TOKENS = 400_000
# $1 for a million tokens of input: the text alone takes $0.40.
PRICE = {"input": 1, "output": 10}
CONFIGURATION: dict[str, Any] = {
    "models": {name: {"targets": [f"{name}/tiny"]} for name in ("openai", "anthropic", "gemini")},
    "prices": {f"{name}/tiny": PRICE for name in ("openai", "anthropic", "gemini")},
    "teams": {"small": {}, "smaller": {}},
    "policies": [
        {"name": name, "match": {"team": name}, "limits": [{"spend": usd, "per": "month"}]}
        for name, usd in (("small", 0.05), ("smaller", 0.03))
    ],
    "keys": [{"name": "small", "team": "small"}, {"name": "smaller", "team": "smaller"}],
}
# Before anything is learned a call is expected to take a tenth of its bound, $0.04: one budget has room for that, the
# other does not.
LIMITS = {"small": Decimal("0.05"), "smaller": Decimal("0.03")}
TEXT_COSTS, MOST = Decimal("0.40"), Decimal("0.41")
# One token per byte, as in some tokenizers of digits.
TEXT = "7" * TOKENS
MESSAGES = [{"role": "user", "content": TEXT}]
CALLS = {
    "openai": ("/v1/chat/completions", {"model": "openai", "messages": MESSAGES, "max_tokens": 10}),
    "anthropic": ("/v1/messages", {"model": "anthropic", "messages": MESSAGES, "max_tokens": 10}),
    "gemini": (
        "/v1beta/models/gemini:generateContent",
        {"contents": [{"parts": [{"text": TEXT}]}], "generationConfig": {"maxOutputTokens": 10}},
    ),
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("large"), CONFIGURATION, vendors) as running:
        yield running


def figures(answer: httpx.Response, dialect: str) -> dict[str, Any]:
    """The machine-readable figures of a refusal."""
    error = answer.json()["error"]
    if dialect != "gemini":
        return dict(error["details"])
    (info,) = (each for each in error["details"] if "metadata" in each)
    return {**info["metadata"], "reason": info["reason"].lower()}


@pytest.mark.parametrize("policy", LIMITS)
@pytest.mark.parametrize("dialect", CALLS)
def test_who_asks_for_more_than_an_untouched_budget_is_told_what_it_takes_and_what_is_left(
    gateway: Gateway, providers: Providers, dialect: str, policy: str
) -> None:
    path, body = CALLS[dialect]
    answer = gateway.http(policy).post(path, json=body)

    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    told = figures(answer, dialect)
    assert told["reason"] == "request_exceeds_remaining_budget"
    assert told["policy"] == policy
    assert [Decimal(told[name]) for name in ("limit", "used", "reserved", "doubt")] == [LIMITS[policy], 0, 0, 0]
    needed = Decimal(told["requested"])
    assert TEXT_COSTS < needed < MOST
    sentence = json.dumps(answer.json())
    assert f"This request takes ${needed}" in sentence
    limit = LIMITS[policy]
    assert f"has ${limit:.9f} left: $0.000000000 of ${limit} spent" in sentence
    assert not any(providers.requests(vendor) for vendor in providers.by_vendor)
    assert amount(gateway.budget(policy), "reserved") == 0
