"""A denied call of the real SDK, with its default retries, is one request and one exception that says everything."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from services.cli.simulator.provider import Vendor
from tests.e2e.environment import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {"exact": {"targets": ["openai/exact"]}, "claude": {"targets": ["anthropic/claude"]}},
    "prices": {"openai/exact": {"input": 0, "output": 100}, "anthropic/claude": {"input": 0, "output": 100}},
    "policies": [
        {"name": "a-cent", "match": {"key": "poor"}, "limits": [{"spend": 0.01, "per": "month"}]},
        {"name": "one-an-hour", "match": {"key": "rare"}, "limits": [{"requests": 1, "per": "hour"}]},
    ],
    "keys": [{"name": "poor"}, {"name": "rare"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("denial"), CONFIGURATION, vendors) as running:
        running.openai("poor").chat.completions.create(model="exact", messages=ASK, max_tokens=100)
        running.settle(calls=1)
        yield running


def test_the_openai_sdk_raises_once_and_says_which_budget(gateway: Gateway, providers: Providers) -> None:
    before = _refused(gateway)
    with pytest.raises(openai.RateLimitError) as refused:
        gateway.openai("poor", max_retries=2).chat.completions.create(model="exact", messages=ASK, max_tokens=100)
    error = refused.value
    assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
    assert error.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in error.response.headers
    assert "a-cent" in error.message
    details: Any = error.body["details"]  # type: ignore[index]
    assert details["policy"] == "a-cent"
    assert details["reason"] == "budget_exhausted"
    assert (details["limit"], details["used"], details["reserved"]) == ("0.010000000", "0.010000000", "0.000000000")
    assert details["resets_at"] > details["window_start"]
    assert _refused(gateway, at_least=before + 1) == before + 1
    assert not providers.requests(Vendor.OPENAI)


def test_the_anthropic_sdk_raises_once(gateway: Gateway) -> None:
    before = _refused(gateway)
    with pytest.raises(anthropic.RateLimitError) as refused:
        gateway.anthropic("poor", max_retries=2).messages.create(model="claude", messages=ASK, max_tokens=100)
    error: Any = refused.value.body
    assert error["error"]["type"] == "rate_limit_error"
    assert error["error"]["details"]["policy"] == "a-cent"
    assert refused.value.response.headers["request-id"]
    assert _refused(gateway, at_least=before + 1) == before + 1


def test_a_stream_is_refused_before_it_starts(gateway: Gateway) -> None:
    with pytest.raises(openai.RateLimitError):
        gateway.openai("poor").chat.completions.create(model="exact", messages=ASK, max_tokens=100, stream=True)


def test_a_smaller_request_is_not_what_was_refused(gateway: Gateway) -> None:
    """The budget is spent: no request is small enough, and the answer does not pretend otherwise."""
    with pytest.raises(openai.RateLimitError) as refused:
        gateway.openai("poor").chat.completions.create(model="exact", messages=ASK, max_tokens=1)
    assert refused.value.code == "insufficient_quota"


def test_a_rate_that_is_far_from_its_next_hour_is_not_retried_either(gateway: Gateway) -> None:
    client = gateway.openai("rare", max_retries=2)
    client.chat.completions.create(model="exact", messages=ASK, max_tokens=10)
    before = _refused(gateway)
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="exact", messages=ASK, max_tokens=10)
    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) <= 3600
    assert _refused(gateway, at_least=before + 1) == before + 1


def _refused(gateway: Gateway, at_least: int = 0) -> int:
    """Requests of ours that Envoy logged as refused; looks twice, so that a late one would be seen."""
    path = gateway.data_dir / "logs" / "refused.jsonl"
    deadline = time.monotonic() + 3
    while True:
        time.sleep(0.5)
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        # The readiness probe of `up` asks for the models without a key.
        found = [line for line in lines if line.get("method") == "POST"]
        if len(found) >= at_least or time.monotonic() > deadline:
            return len(found)
