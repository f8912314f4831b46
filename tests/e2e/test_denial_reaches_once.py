"""A denied call of the real SDK, with its default retries, is one request and one exception that says everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors as gemini_errors
from google.genai import types as gemini_types

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.refusals import refused_posts

pytestmark = pytest.mark.e2e

ENDPOINTS = {"exact": "openai/exact", "claude": "anthropic/claude", "gem": "gemini/gem"}
CONFIGURATION = {
    "models": {model: {"targets": [target]} for model, target in ENDPOINTS.items()},
    "prices": {target: {"input": 0, "output": 100} for target in ENDPOINTS.values()},
    "policies": [
        {"name": "a-cent", "match": {"key": "poor"}, "limits": [{"spend": 0.01, "per": "month"}]},
        {
            "name": "prepaid",
            "match": {"key": "prepaid"},
            "limits": [{"spend": 0, "per": "month"}],
            "exhausted_status": 402,
        },
        {"name": "one-an-hour", "match": {"key": "rare"}, "limits": [{"requests": 1, "per": "hour"}]},
    ],
    "keys": [{"name": "poor"}, {"name": "rare"}, {"name": "prepaid"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]


def ask_openai(gateway: Gateway, key: str, *, stream: bool) -> None:
    client = gateway.openai(key, max_retries=openai.DEFAULT_MAX_RETRIES)
    client.chat.completions.create(model="exact", messages=ASK, max_tokens=100, stream=stream)


def ask_anthropic(gateway: Gateway, key: str, *, stream: bool) -> None:
    client = gateway.anthropic(key, max_retries=anthropic.DEFAULT_MAX_RETRIES)
    client.messages.create(model="claude", messages=ASK, max_tokens=100, stream=stream)


def ask_gemini(gateway: Gateway, key: str, *, stream: bool) -> None:
    models = gateway.gemini(key).models
    config = gemini_types.GenerateContentConfig(max_output_tokens=100)
    if stream:
        list(models.generate_content_stream(model="gem", contents="Answer.", config=config))
    else:
        models.generate_content(model="gem", contents="Answer.", config=config)


Ask = Callable[..., None]
every_sdk = pytest.mark.parametrize("ask", [ask_openai, ask_anthropic, ask_gemini])
both_ways = pytest.mark.parametrize("stream", [False, True])
RAISED_FOR_429 = {
    ask_openai: openai.RateLimitError,
    ask_anthropic: anthropic.RateLimitError,
    ask_gemini: gemini_errors.ClientError,
}
RAISED_FOR_402 = {
    ask_openai: openai.APIStatusError,
    ask_anthropic: anthropic.APIStatusError,
    ask_gemini: gemini_errors.ClientError,
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("denial"), CONFIGURATION, vendors) as running:
        running.openai("poor").chat.completions.create(model="exact", messages=ASK, max_tokens=100)
        running.openai("rare").chat.completions.create(model="exact", messages=ASK, max_tokens=100)
        running.settle(calls=2)
        yield running


@both_ways
@every_sdk
def test_a_call_denied_for_its_budget_is_one_request_and_the_documented_exception(
    gateway: Gateway, providers: Providers, ask: Ask, stream: bool
) -> None:
    before = refused_posts(gateway)
    with pytest.raises(RAISED_FOR_429[ask]) as refused:
        ask(gateway, "poor", stream=stream)
    _check_once(gateway, before, providers)
    assert _status_of(refused.value) == 429
    assert "a-cent" in str(refused.value)


@both_ways
@every_sdk
def test_a_call_denied_with_402_is_one_request_and_the_documented_exception(
    gateway: Gateway, providers: Providers, ask: Ask, stream: bool
) -> None:
    before = refused_posts(gateway)
    with pytest.raises(RAISED_FOR_402[ask]) as refused:
        ask(gateway, "prepaid", stream=stream)
    _check_once(gateway, before, providers)
    assert _status_of(refused.value) == 402
    assert "prepaid" in str(refused.value)


@both_ways
@every_sdk
def test_a_rate_that_is_far_from_its_next_hour_is_one_request_too(
    gateway: Gateway, providers: Providers, ask: Ask, stream: bool
) -> None:
    before = refused_posts(gateway)
    with pytest.raises(RAISED_FOR_429[ask]) as refused:
        ask(gateway, "rare", stream=stream)
    _check_once(gateway, before, providers)
    assert "one-an-hour" in str(refused.value)


def test_the_openai_exception_says_which_budget_and_how_far_it_is_used(gateway: Gateway) -> None:
    with pytest.raises(openai.RateLimitError) as refused:
        ask_openai(gateway, "poor", stream=False)
    error = refused.value
    assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
    assert error.request_id
    assert error.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in error.response.headers
    details: Any = error.body["details"]  # type: ignore[index]
    assert details["policy"] == "a-cent"
    assert details["reason"] == "budget_exhausted"
    assert (details["limit"], details["used"], details["reserved"]) == ("0.010000000", "0.010000000", "0.000000000")
    assert details["resets_at"] > details["window_start"]


def test_the_anthropic_exception_has_the_type_that_its_status_stands_for(gateway: Gateway) -> None:
    for key, policy, kind in (("poor", "a-cent", "rate_limit_error"), ("prepaid", "prepaid", "billing_error")):
        with pytest.raises(anthropic.APIStatusError) as refused:
            ask_anthropic(gateway, key, stream=False)
        error: Any = refused.value.body
        assert error["error"]["type"] == kind
        assert error["error"]["details"]["policy"] == policy
        assert refused.value.request_id == error["request_id"]


def test_a_smaller_request_is_not_what_was_refused(gateway: Gateway) -> None:
    """The budget is spent: no request is small enough, and the answer does not pretend otherwise."""
    with pytest.raises(openai.RateLimitError) as refused:
        gateway.openai("poor").chat.completions.create(model="exact", messages=ASK, max_tokens=1)
    assert refused.value.code == "insufficient_quota"


def _check_once(gateway: Gateway, before: int, providers: Providers) -> None:
    assert refused_posts(gateway, at_least=before + 1) == before + 1
    assert not any(providers.requests(vendor) for vendor in Vendor)


def _status_of(error: Any) -> int:
    return int(error.code if isinstance(error, gemini_errors.APIError) else error.status_code)
