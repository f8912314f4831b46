"""Completions, counting and moderations through the whole gateway, with the vendors' own SDKs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, amount, run_gateway
from tests.worlds.limited_keys import calls_of, limited_keys, newest_call

pytestmark = pytest.mark.e2e

ASK: Any = [{"role": "user", "content": "Answer in 24 tokens, please."}]
LIMITS: dict[str, dict[str, Any]] = {
    "app": {"spend": 100},
    "narrow": {"output_tokens": 150},
    "counted": {"requests": 2},
    "counter": {"spend": 1},
}
CONFIGURATION = {
    "models": {
        "gpt": {"targets": ["openai/gpt-3.5-turbo-instruct"]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
        "gem": {"targets": ["gemini/gemini-2.5-flash"]},
        "omni-moderation-latest": {"targets": ["openai/omni-moderation-latest"]},
    },
    # Nobody publishes a price of moderations, because they are free.
    "prices": {"openai/gpt-3.5-turbo-instruct": {"input": 1, "output": 100}},
    **limited_keys(LIMITS),
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("older"), CONFIGURATION, vendors) as running:
        yield running


@pytest.mark.parametrize("prompt", ["Answer in 24 tokens.", ["Answer in 24 tokens.", "Answer in 24 tokens."], [1, 2]])
def test_completions_are_booked_as_the_provider_counted_them(
    gateway: Gateway, providers: Providers, prompt: Any
) -> None:
    done = gateway.openai("app").completions.create(model="gpt", prompt=prompt, max_tokens=30)
    call = newest_call(gateway, "app")

    assert len(done.choices) == (2 if prompt == ["Answer in 24 tokens."] * 2 else 1)
    assert done.usage is not None
    assert (call["input_tokens"], call["output_tokens"]) == (done.usage.prompt_tokens, done.usage.completion_tokens)
    assert call["operation"] == "completions"
    assert Decimal(call["cost_usd"]) == (
        Decimal(done.usage.prompt_tokens + 100 * done.usage.completion_tokens) / 1_000_000
    )
    assert [each.path for each in providers.requests(Vendor.OPENAI)] == ["/v1/completions"]


def test_a_stream_of_completions_tells_its_usage_to_the_gateway_alone(gateway: Gateway) -> None:
    asked: Any = {"model": "gpt", "prompt": "Answer in 24 tokens.", "max_tokens": 30, "stream": True}
    silent = list(gateway.openai("app").completions.create(**asked))
    call = newest_call(gateway, "app")
    telling = list(gateway.openai("app").completions.create(**asked, stream_options={"include_usage": True}))

    assert all(piece.choices and piece.usage is None for piece in silent)
    assert (call["output_tokens"], call["usage_source"], call["stream"]) == (24, "provider", True)
    assert telling[-1].usage is not None
    assert telling[-1].usage.completion_tokens == 24


def test_completions_are_cut_to_what_is_left_for_each_prompt(gateway: Gateway, providers: Providers) -> None:
    gateway.openai("narrow").completions.create(model="gpt", prompt=["Answer in 90 tokens."] * 2, max_tokens=90)
    (received,) = providers.requests(Vendor.OPENAI)
    gateway.settle()
    (counter,) = [each for each in gateway.budgets() if each["policy"] == "narrow"]

    assert received.document["max_tokens"] == 75
    assert amount(counter, "settled") == 150


def test_counting_is_free_and_its_answer_is_no_usage(gateway: Gateway, providers: Providers) -> None:
    before = len(calls_of(gateway, "counter"))
    counted = gateway.anthropic("counter").messages.count_tokens(model="claude", messages=ASK)
    of_claude = newest_call(gateway, "counter", after=before)
    told = gateway.gemini("counter").models.count_tokens(model="gem", contents="How many tokens are these?")
    of_gemini = newest_call(gateway, "counter", after=before + 1)
    (counter,) = [each for each in gateway.budgets() if each["policy"] == "counter"]

    assert counted.input_tokens > 0
    assert told.total_tokens
    for call in (of_claude, of_gemini):
        assert (call["input_tokens"], call["output_tokens"], Decimal(call["cost_usd"])) == (0, 0, Decimal(0))
    assert (amount(counter, "settled"), amount(counter, "doubt")) == (Decimal(0), Decimal(0))
    assert [each.path for each in providers.requests(Vendor.ANTHROPIC)] == ["/v1/messages/count_tokens"]
    assert [each.path for each in providers.requests(Vendor.GEMINI)] == ["/v1beta/models/gemini-2.5-flash:countTokens"]


def test_moderations_need_no_price_and_cost_nothing(gateway: Gateway) -> None:
    before = len(calls_of(gateway, "counter"))
    done = gateway.openai("counter").moderations.create(model="omni-moderation-latest", input=["a", "b"])
    call = newest_call(gateway, "counter", after=before)

    assert [each.flagged for each in done.results] == [False, False]
    assert (call["operation"], call["input_tokens"], Decimal(call["cost_usd"])) == ("moderations", 0, Decimal(0))


def test_free_calls_count_as_requests(gateway: Gateway) -> None:
    messages = gateway.anthropic("counted").messages
    for _ in range(2):
        messages.count_tokens(model="claude", messages=ASK)
    with pytest.raises(anthropic.RateLimitError):
        messages.count_tokens(model="claude", messages=ASK)


def test_a_free_call_of_a_model_without_such_a_target_is_refused(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError, match="none of its targets serves moderations"):
        gateway.openai("app").moderations.create(model="claude", input="x")


@pytest.mark.parametrize(
    ("query", "passed"), [("?beta=true", {"beta": "true"}), ("?x=y&beta=true&key=z", {"beta": "true"}), ("?beta=1", {})]
)
def test_anthropics_betas_are_passed_on_and_no_other_query(
    gateway: Gateway, providers: Providers, query: str, passed: dict[str, str]
) -> None:
    body = {"model": "claude", "max_tokens": 30, "messages": ASK}
    headers = {"anthropic-version": "2023-06-01"}
    assert gateway.http("app").post(f"/v1/messages{query}", json=body, headers=headers).status_code == 200
    (received,) = providers.requests(Vendor.ANTHROPIC)

    assert (received.path, received.query) == ("/v1/messages", passed)


def test_the_beta_client_of_anthropics_sdk_works(gateway: Gateway, providers: Providers) -> None:
    done = gateway.anthropic("app").beta.messages.create(model="claude", messages=ASK, max_tokens=60)

    assert done.usage.output_tokens == 24
    assert [each.path for each in providers.requests(Vendor.ANTHROPIC)] == ["/v1/messages"]


@pytest.mark.parametrize(
    "path",
    ["/v1/images/generations", "/v1/images/edits", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/rerank"],
)
def test_what_no_limit_could_count_is_not_served_and_the_answer_says_why(
    gateway: Gateway, providers: Providers, path: str
) -> None:
    answer = gateway.http("app").post(path, content=json.dumps({"model": "gpt", "prompt": "x"}))

    assert answer.status_code == 404
    assert "No answer there tells what a limit could count" in answer.json()["error"]["message"]
    assert providers.requests(Vendor.OPENAI) == []
