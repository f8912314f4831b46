"""Unchanged SDKs: only `base_url` and `api_key` differ from what their vendors' documentation shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from google import genai
from pydantic import BaseModel

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "gpt-4o": {"targets": ["openai/gpt-4o"]},
        "claude-haiku-4-5": {"targets": ["anthropic/claude-haiku-4-5"]},
        "gemini-2.5-flash": {"targets": ["gemini/gemini-2.5-flash"]},
        "claude-or-gpt": {"targets": ["openai/gpt-4o", "anthropic/claude-haiku-4-5"]},
    },
    "teams": {"data-science": {"projects": ["forecasting"]}},
    "policies": [{"name": "everything", "match": {"team": "data-science"}, "limits": [{"spend": 100, "per": "month"}]}],
    "keys": [
        {"name": "app", "team": "data-science", "project": "forecasting", "environment": "prod"},
        {"name": "narrow", "team": "data-science", "models": ["gpt-4o"]},
    ],
}
ASK: Any = [{"role": "user", "content": "Answer in 24 tokens, please."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK_WEATHER: Any = [{"role": "user", "content": "Call get_weather for Oslo."}]


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("sdks"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(providers: Providers) -> None:
    """Each test starts with providers that behave."""


@pytest.mark.parametrize("model", ["gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"])
def test_the_openai_sdk_reaches_every_vendor(gateway: Gateway, model: str) -> None:
    done = gateway.openai("app").chat.completions.create(model=model, messages=ASK, max_tokens=200)
    assert done.choices[0].message.content
    assert done.usage is not None
    assert done.usage.completion_tokens >= 24


@pytest.mark.parametrize("model", ["gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"])
def test_a_stream_brings_the_usage_chunk_only_when_it_is_asked_for(gateway: Gateway, model: str) -> None:
    chat = gateway.openai("app").chat.completions
    silent = list(chat.create(model=model, messages=ASK, stream=True))
    telling = list(chat.create(model=model, messages=ASK, stream=True, stream_options={"include_usage": True}))
    assert all(chunk.choices and chunk.usage is None for chunk in silent)
    assert telling[-1].choices == []
    assert telling[-1].usage is not None
    assert telling[-1].usage.completion_tokens >= 24
    assert len(telling) == len(silent) + 1
    assert _text(silent) == _text(telling)


def test_the_usage_chunk_is_taken_out_also_when_it_arrives_in_pieces(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.SPLIT))
    chunks = list(gateway.openai("app").chat.completions.create(model="gpt-4o", messages=ASK, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("asked", [True, False])
def test_usage_is_known_although_the_sdk_hangs_up_before_the_stream_ends(
    gateway: Gateway, providers: Providers, asked: bool
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.LATE_END, delay_ms=100))
    options: Any = {"stream_options": {"include_usage": True}} if asked else {}
    list(gateway.openai("app").chat.completions.create(model="gpt-4o", messages=ASK, stream=True, **options))
    gateway.settle()
    newest = gateway.calls(limit=1)[0]
    assert (newest["usage_source"], newest["output_tokens"]) == ("provider", 24)


@pytest.mark.parametrize("model", ["gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"])
def test_tools_are_called_also_in_a_stream(gateway: Gateway, model: str) -> None:
    chat = gateway.openai("app").chat.completions
    done = chat.create(model=model, messages=ASK_WEATHER, tools=[WEATHER])
    calls = done.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == {"city": "simulated"}
    with chat.stream(model=model, messages=ASK_WEATHER, tools=[WEATHER]) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed is not None
    assert streamed[0].function.arguments == calls[0].function.arguments


def test_structured_output_is_parsed(gateway: Gateway) -> None:
    class Forecast(BaseModel):
        city: str
        days: list[int]

    done = gateway.openai("app").chat.completions.parse(model="gpt-4o", messages=ASK, response_format=Forecast)
    assert done.choices[0].message.parsed == Forecast(city="simulated", days=[7])


def test_the_anthropic_sdk_speaks_its_own_dialect(gateway: Gateway, providers: Providers) -> None:
    messages = gateway.anthropic("app").messages
    done = messages.create(model="claude-haiku-4-5", messages=ASK, max_tokens=100)
    with messages.stream(model="claude-haiku-4-5", messages=ASK, max_tokens=100) as stream:
        streamed = stream.get_final_message()
    assert done.usage.output_tokens == streamed.usage.output_tokens == 24
    tool: Any = {"name": "get_weather", "input_schema": WEATHER["function"]["parameters"]}
    called = messages.create(model="claude-haiku-4-5", messages=ASK_WEATHER, max_tokens=100, tools=[tool])
    assert called.stop_reason == "tool_use"
    assert {request.path for request in providers.requests(Vendor.ANTHROPIC)} == {"/v1/messages"}


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_gemini_sdk_speaks_its_own_dialect(gateway: Gateway, version: str) -> None:
    models = gateway.gemini("app", version).models
    done = models.generate_content(model="gemini-2.5-flash", contents="Answer in 24 tokens.")
    pieces = list(models.generate_content_stream(model="gemini-2.5-flash", contents="Answer in 24 tokens."))
    assert "".join(piece.text or "" for piece in pieces) == done.text
    assert done.usage_metadata is not None
    assert done.usage_metadata.candidates_token_count == 24


def test_answers_tell_what_was_asked_for_served_and_left(gateway: Gateway) -> None:
    gateway.openai("app").chat.completions.create(model="gpt-4o", messages=ASK)
    gateway.settle()
    raw = gateway.openai("app").chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
    assert raw.headers["x-spendgate-model-requested"] == "gpt-4o"
    assert raw.headers["x-spendgate-model-served"] == "openai/gpt-4o"
    assert raw.headers["x-spendgate-attempts"] == "1"
    assert raw.headers["x-spendgate-policy"] == "everything"
    assert 0 < float(raw.headers["x-spendgate-budget-remaining"]) < 100
    assert raw.headers["x-request-id"]


def test_a_provider_sees_its_own_key_and_nothing_of_ours(gateway: Gateway, providers: Providers) -> None:
    gateway.openai("app").chat.completions.create(
        model="gpt-4o", messages=ASK, extra_headers={"x-spendgate-run": "nightly", "x-api-key": gateway.secret("app")}
    )
    gateway.anthropic("app").messages.create(model="claude-haiku-4-5", messages=ASK, max_tokens=50)
    gateway.gemini("app").models.generate_content(model="gemini-2.5-flash", contents="hello")
    for vendor, header in ((Vendor.OPENAI, "authorization"), (Vendor.ANTHROPIC, "x-api-key")):
        (received,) = providers.requests(vendor)
        assert providers.by_vendor[vendor].api_key in received.headers[header]
    for received in [request for vendor in Vendor for request in providers.requests(vendor)]:
        whole = json.dumps([dict(received.headers), received.path, dict(received.query), received.body.decode()])
        assert gateway.secret("app") not in whole
        assert not [name for name in received.headers if name.startswith("x-spendgate")]
        assert "accept-encoding" not in received.headers


def test_a_vendors_name_for_a_release_reaches_the_configured_model(gateway: Gateway) -> None:
    answer = gateway.openai("app").chat.completions.with_raw_response.create(model="gpt-4o-2024-08-06", messages=ASK)
    assert answer.headers["x-spendgate-model-requested"] == "gpt-4o"
    claude = gateway.anthropic("app").messages.with_raw_response.create(
        model="claude-haiku-4-5-20251001", messages=ASK, max_tokens=50
    )
    assert claude.headers["x-spendgate-model-served"] == "anthropic/claude-haiku-4-5"
    gemini = gateway.gemini("app").models.generate_content(model="gemini-2.5-flash-latest", contents="hello")
    assert gemini.text
    assert gateway.openai("app").models.retrieve("gpt-4o-2024-08-06").id == "gpt-4o"
    with pytest.raises(openai.PermissionDeniedError):
        gateway.openai("narrow").chat.completions.create(model="claude-haiku-4-5-20251001", messages=ASK)


def test_a_key_lists_its_own_models_free_of_charge(gateway: Gateway) -> None:
    before = gateway.settle()
    assert [model.id for model in gateway.openai("narrow").models.list()] == ["gpt-4o"]
    assert {model.id for model in gateway.openai("app").models.list()} == set(CONFIGURATION["models"])
    assert gateway.openai("app").models.retrieve("gpt-4o").id == "gpt-4o"
    # All of them: what does not speak Anthropic's dialect is reached by a translation.
    assert {model.id for model in gateway.anthropic("app").models.list()} == set(CONFIGURATION["models"])
    assert [model.name for model in gateway.gemini("app").models.list()] == ["models/gemini-2.5-flash"]
    assert gateway.settle() == before
    with pytest.raises(openai.PermissionDeniedError) as refused:
        gateway.openai("narrow").chat.completions.create(model="claude-haiku-4-5", messages=ASK)
    assert refused.value.code == "model_not_allowed"


def test_a_target_without_a_face_in_the_clients_dialect_is_left_out(gateway: Gateway, providers: Providers) -> None:
    with pytest.raises(genai.errors.ClientError, match="gpt-4o") as refused:
        gateway.gemini("app").models.generate_content(model="gpt-4o", contents="Answer in 24 tokens, please.")
    assert refused.value.code == 400
    assert not providers.requests(Vendor.OPENAI)


def test_what_a_call_cost_is_on_record_to_the_nano_dollar(gateway: Gateway) -> None:
    raw = gateway.openai("app").chat.completions.with_raw_response.create(
        model="gpt-4o", messages=ASK, extra_headers={"x-spendgate-tags": "feature=search,step=2"}
    )
    usage = raw.parse().usage
    assert usage is not None
    gateway.settle()
    newest = gateway.calls(limit=1)[0]
    assert (newest["input_tokens"], newest["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    # The catalogue's gpt-4o: $2.50 and $10.00 per million tokens.
    nano_usd = usage.prompt_tokens * 2_500 + usage.completion_tokens * 10_000
    assert newest["cost_usd"] == f"0.{nano_usd:09d}"
    assert (newest["team"], newest["project"], newest["environment"]) == ("data-science", "forecasting", "prod")
    assert (newest["key"], newest["model_served"], newest["usage_source"]) == ("app", "openai/gpt-4o", "provider")


@pytest.mark.parametrize("secret", ["", "spg_live_nonsense", "sk-somebody-elses-key-entirely"])
def test_an_unknown_key_is_an_authentication_error(gateway: Gateway, secret: str) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        gateway.openai(secret or "x").chat.completions.create(model="gpt-4o", messages=ASK)
    assert refused.value.code == "invalid_api_key"


def _text(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
