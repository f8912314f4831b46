"""Our limits in the headers of every answer: the same ones streamed or not, allowed or refused, and no provider's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.faults import Latency
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, amount, run_gateway

pytestmark = pytest.mark.e2e

_PER_DAY = {"per": "day"}
CONFIGURATION = {
    "models": {"gpt": {"targets": ["openai/gpt"]}, "claude": {"targets": ["anthropic/claude"]}},
    "prices": {"openai/gpt": {"input": 1, "output": 100}, "anthropic/claude": {"input": 1, "output": 100}},
    "policies": [
        {
            "name": "daily",
            "match": {"environment": "prod"},
            "each": "key",
            "limits": [
                {"requests": 5, **_PER_DAY},
                {"tokens": 1_000_000, **_PER_DAY},
                {"input_tokens": 900_000, **_PER_DAY},
                {"spend": 10, **_PER_DAY},
            ],
        }
    ],
    "keys": [{"name": name, "environment": "prod"} for name in ("of-openai", "of-anthropic")],
}
ENDPOINTS: dict[str, tuple[Vendor, str, dict[str, Any]]] = {
    "of-openai": (Vendor.OPENAI, "/v1/chat/completions", {"model": "gpt"}),
    "of-anthropic": (Vendor.ANTHROPIC, "/v1/messages", {"model": "claude"}),
}
NAMES = {
    "of-openai": {
        f"x-ratelimit-{part}-{kind}" for part in ("limit", "remaining", "reset") for kind in ("requests", "tokens")
    },
    "of-anthropic": {
        f"anthropic-ratelimit-{kind}-{part}"
        for part in ("limit", "remaining", "reset")
        for kind in ("requests", "tokens", "input-tokens")
    },
}
OURS = {
    "x-request-id",
    "request-id",
    "x-spendgate-model-requested",
    "x-spendgate-attempts",
    "x-spendgate-policy",
    "x-spendgate-budget-remaining",
    "x-spendgate-budget-resets-at",
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("headers"), CONFIGURATION, vendors) as running:
        yield running


def _requests_left(headers: Mapping[str, str]) -> int:
    (name,) = {"x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"} & set(headers)
    return int(headers[name])


@pytest.mark.parametrize("key", ENDPOINTS)
def test_at24_the_headers_are_the_same_on_every_answer_and_what_remains_only_falls(
    gateway: Gateway, providers: Providers, key: str
) -> None:
    vendor, path, body = ENDPOINTS[key]
    client = gateway.http(key)
    client.headers["anthropic-version"] = "2023-06-01"
    ask = [{"role": "user", "content": "Answer in 50 tokens."}]

    def post(number: int) -> Mapping[str, str]:
        sent = {**body, "messages": ask, "max_tokens": 60 + 40 * (number % 2), "stream": number % 2 == 1}
        response = client.post(path, json=sent)
        assert response.status_code == (200 if number < 5 else 429)
        return response.headers

    answers: list[Mapping[str, str]] = []
    for number in range(3):
        answers.append(post(number))
        gateway.settle()
    # Calls in flight give back most of what they hold. If holds counted as used, the reported remainder would rise
    # again.
    providers.by_vendor[vendor].latency = Latency(first_byte_p50_ms=1_000, first_byte_p95_ms=1_000)
    with ThreadPoolExecutor(2) as at_once:
        answers += sorted(at_once.map(post, (3, 4)), key=lambda headers: -_requests_left(headers))
    gateway.settle()
    answers.append(post(5))

    for headers in answers:
        told = {name for name in headers if "ratelimit" in name}
        assert told == NAMES[key]
        assert set(headers) >= OURS
    assert all("x-spendgate-model-served" in headers for headers in answers[:5])
    for name in sorted(NAMES[key]):
        if "remaining" in name:
            amounts = [int(headers[name]) for headers in answers]
            assert amounts == sorted(amounts, reverse=True)
            assert amounts[-1] < amounts[0]
    # Each answer counts the call that it answers.
    assert [_requests_left(headers) for headers in answers] == [4, 3, 2, 1, 0, 0]
    counters = [each for each in gateway.budgets() if each["scope"].endswith(f"key={key}")]
    remaining = {each["limit_kind"]: amount(each, "remaining") for each in counters}
    for name in sorted(NAMES[key]):
        if "remaining" in name:
            (kind,) = [each for each in ("input-tokens", "tokens", "requests") if each in name][:1]
            assert Decimal(answers[-1][name]) == remaining[kind.replace("-", "_")]
    assert Decimal(answers[-1]["x-spendgate-budget-remaining"]) == remaining["requests"] == 0
