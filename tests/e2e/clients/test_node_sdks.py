"""The vendors' SDKs in Node, unchanged: every endpoint, streamed or not, across dialects, and without a budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.provider import Vendor
from tests.clients.install import node_script
from tests.clients.program import Program, Raised, run_program
from tests.clients.sdks import NodeSdks
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.limited_keys import calls_of, limited_keys, newest_call
from tests.worlds.refusals import refused_posts

pytestmark = [pytest.mark.e2e, pytest.mark.full]

SAY = "Answer in 24 tokens, please."
ASK = [{"role": "user", "content": SAY}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK_WEATHER = [{"role": "user", "content": "Call get_weather for Oslo."}]
# US dollars per million tokens.
PRICE = {"input": 3, "output": 15, "cached_input": 3}
TARGETS = {
    "gpt": "openai/gpt-4o",
    "claude": "messages/claude-haiku-4-5",
    "own-claude": "anthropic/claude-haiku-4-5",
    "gem": "gemini/gemini-2.5-flash",
    "instruct": "openai/gpt-3.5-turbo-instruct",
    "vec": "openai/text-embedding-3-small",
    "gem-vec": "gemini/gemini-embedding-001",
}
LIMITS: dict[str, dict[str, Any]] = {"app": {"spend": 100}, "poor": {"spend": 0}}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    # Anthropic's preset has a face in OpenAI's dialect, too. This provider has none, so that chats are translated.
    messages = {
        "protocol": "anthropic",
        "base_url": vendors.listeners[Vendor.ANTHROPIC].url,
        "api_key": {"env": "ANTHROPIC_API_KEY"},
    }
    configuration = {
        "providers": {**vendors.configuration, "messages": messages},
        "models": {name: {"targets": [target]} for name, target in TARGETS.items()}
        | {"omni-moderation-latest": {"targets": ["openai/omni-moderation-latest"]}},
        "prices": dict.fromkeys(TARGETS.values(), PRICE),
        **limited_keys(LIMITS),
    }
    with run_gateway(tmp_path_factory.mktemp("node"), configuration, vendors) as running:
        yield running


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with run_program(node_script("sdks.mjs"), tmp_path_factory.mktemp("sdks")) as running:
        yield running


@pytest.fixture
def sdks(program: Program, gateway: Gateway, providers: Providers) -> NodeSdks:
    return NodeSdks(program, gateway)


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": ASK, "max_tokens": 100, **more}


def content(model: str) -> dict[str, Any]:
    return {"model": model, "contents": SAY, "config": {"maxOutputTokens": 100}}


CHATS = [("gpt", Vendor.OPENAI), ("claude", Vendor.ANTHROPIC), ("gem", Vendor.GEMINI)]
USAGE = {"include_usage": True}


@pytest.mark.parametrize(("model", "vendor"), CHATS)
def test_openais_chats_reach_every_vendor(sdks: NodeSdks, providers: Providers, model: str, vendor: Vendor) -> None:
    done = sdks.call("app", "openai: chat.completions.create", chat(model))
    check_booked(sdks, providers, vendor, done["usage"]["prompt_tokens"], done["usage"]["completion_tokens"])
    *chunks, last = sdks.call(
        "app", "openai: chat.completions.create", chat(model, stream=True, stream_options=USAGE), form="list"
    )
    check_booked(sdks, providers, vendor, last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"])

    assert done["choices"][0]["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"] == "stop"
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == done["choices"][0]["message"]["content"]
    silent = sdks.call("app", "openai: chat.completions.create", chat(model, stream=True), form="list")
    assert all(chunk["choices"] for chunk in silent)


@pytest.mark.parametrize(("model", "vendor"), CHATS[:2])
def test_anthropics_messages_reach_both_dialects(
    sdks: NodeSdks, providers: Providers, model: str, vendor: Vendor
) -> None:
    done = sdks.call("app", "anthropic: messages.create", chat(model))
    check_booked(sdks, providers, vendor, done["usage"]["input_tokens"], done["usage"]["output_tokens"])
    streamed = sdks.call("app", "anthropic: messages.stream", chat(model), form="final")
    check_booked(sdks, providers, vendor, streamed["usage"]["input_tokens"], streamed["usage"]["output_tokens"])
    events = sdks.call("app", "anthropic: beta.messages.create", chat(model, stream=True), form="list")

    assert done["stop_reason"] == streamed["stop_reason"] == "end_turn"
    assert streamed["content"][0]["text"] == done["content"][0]["text"]
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")


@pytest.mark.parametrize("streamed", [False, True])
def test_gemini_speaks_its_own_dialect(sdks: NodeSdks, providers: Providers, streamed: bool) -> None:
    method, form = ("generateContentStream", "list") if streamed else ("generateContent", "value")
    answer = sdks.call("app", f"google: models.{method}", content("gem"), form=form)
    usage = (answer[-1] if streamed else answer)["usageMetadata"]

    output_tokens = usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    check_booked(sdks, providers, Vendor.GEMINI, usage["promptTokenCount"], output_tokens)
    assert usage["candidatesTokenCount"] == 24


@pytest.mark.parametrize("streamed", [False, True])
def test_responses_are_metered(sdks: NodeSdks, providers: Providers, streamed: bool) -> None:
    asked: dict[str, Any] = {"model": "gpt", "input": SAY, "stream": streamed}
    answer = sdks.call("app", "openai: responses.create", asked, form="list" if streamed else "value")
    done = answer[-1]["response"] if streamed else answer

    check_booked(sdks, providers, Vendor.OPENAI, done["usage"]["input_tokens"], done["usage"]["output_tokens"])
    assert done["status"] == "completed"


def test_completions_and_vectors_are_metered(sdks: NodeSdks, providers: Providers) -> None:
    done = sdks.call("app", "openai: completions.create", {"model": "instruct", "prompt": SAY, "max_tokens": 50})
    check_booked(sdks, providers, Vendor.OPENAI, done["usage"]["prompt_tokens"], done["usage"]["completion_tokens"])
    vectors = sdks.call("app", "openai: embeddings.create", {"model": "vec", "input": ["one", "two"]})
    check_booked(sdks, providers, Vendor.OPENAI, vectors["usage"]["prompt_tokens"], 0)
    assert len(vectors["data"]) == 2
    found = sdks.call("app", "google: models.embedContent", {"model": "gem-vec", "contents": ["one", "two"]})
    check_booked(sdks, providers, Vendor.GEMINI, providers.by_vendor[Vendor.GEMINI].bills[-1].usage.input_tokens, 0)
    assert len(found["embeddings"]) == 2


def test_what_is_free_costs_nothing(sdks: NodeSdks, gateway: Gateway) -> None:
    before = len(calls_of(gateway, "app"))
    counted = sdks.call("app", "anthropic: messages.countTokens", {"model": "own-claude", "messages": ASK})
    told = sdks.call("app", "google: models.countTokens", {"model": "gem", "contents": SAY})
    judged = sdks.call("app", "openai: moderations.create", {"model": "omni-moderation-latest", "input": SAY})
    newest_call(gateway, "app", after=before + 2)

    assert counted["input_tokens"] > 0
    assert told["totalTokens"] > 0
    assert judged["results"][0]["flagged"] is False
    assert {Decimal(call["cost_usd"]) for call in calls_of(gateway, "app")[:3]} == {Decimal(0)}


def test_models_are_listed(sdks: NodeSdks) -> None:
    everything = {*TARGETS, "omni-moderation-latest"}
    assert {model["id"] for model in sdks.call("app", "openai: models.list", form="list")} == everything
    assert sdks.call("app", "openai: models.retrieve", "gpt")["id"] == "gpt"
    assert {"claude", "gpt"} <= {model["id"] for model in sdks.call("app", "anthropic: models.list", form="list")}
    named = [model["name"] for model in sdks.call("app", "google: models.list", {}, form="list")]
    assert "models/gem" in named
    assert "models/claude" not in named


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_a_chat_client_loops_over_a_tool(sdks: NodeSdks, model: str, streamed: bool) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
    conversation: list[dict[str, Any]] = []
    method = "chat.completions.stream" if streamed else "chat.completions.create"
    for _ in range(5):
        conversation += ASK_WEATHER
        for reason in ("tool_calls", "stop"):
            asked = {"model": model, "messages": conversation, "tools": tools}
            done = sdks.call("app", f"openai: {method}", asked, form="final" if streamed else "value")
            said = done["choices"][0]["message"]
            assert done["choices"][0]["finish_reason"] == reason
            conversation.append({name: said[name] for name in ("role", "content", "tool_calls") if said.get(name)})
            for call in said.get("tool_calls") or ():
                assert json.loads(call["function"]["arguments"]) == {"city": "simulated"}
                conversation.append({"role": "tool", "tool_call_id": call["id"], "content": "rain"})


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_a_messages_client_loops_over_a_tool(sdks: NodeSdks, model: str, streamed: bool) -> None:
    tools = [{"name": "get_weather", "input_schema": PARAMETERS}]
    conversation: list[dict[str, Any]] = []
    method = "messages.stream" if streamed else "messages.create"
    for _ in range(5):
        conversation += ASK_WEATHER
        for reason in ("tool_use", "end_turn"):
            asked = {"model": model, "max_tokens": 500, "messages": conversation, "tools": tools}
            done = sdks.call("app", f"anthropic: {method}", asked, form="final" if streamed else "value")
            assert done["stop_reason"] == reason
            conversation.append({"role": "assistant", "content": done["content"]})
            for use in done["content"]:
                if use["type"] == "tool_use":
                    assert use["input"] == {"city": "simulated"}
                    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "rain"}
                    conversation.append({"role": "user", "content": [result]})


REFUSED = [
    ("openai: chat.completions.create", chat("gpt"), "RateLimitError"),
    ("openai: chat.completions.create", chat("claude"), "RateLimitError"),
    ("openai: responses.create", {"model": "gpt", "input": SAY}, "RateLimitError"),
    ("openai: embeddings.create", {"model": "vec", "input": SAY}, "RateLimitError"),
    ("anthropic: messages.create", chat("claude"), "RateLimitError"),
    ("anthropic: messages.create", chat("gpt"), "RateLimitError"),
    ("google: models.generateContent", content("gem"), "ApiError"),
]
REFUSED_STREAMS = [
    ("openai: chat.completions.create", chat("gpt", stream=True), "RateLimitError"),
    ("openai: responses.create", {"model": "gpt", "input": SAY, "stream": True}, "RateLimitError"),
    ("anthropic: messages.create", chat("claude", stream=True), "RateLimitError"),
    ("google: models.generateContentStream", content("gem"), "ApiError"),
]


@pytest.mark.parametrize(("method", "asked", "kind"), [*REFUSED, *REFUSED_STREAMS])
def test_an_exhausted_budget_is_one_request_and_the_documented_error(
    sdks: NodeSdks, gateway: Gateway, providers: Providers, method: str, asked: dict[str, Any], kind: str
) -> None:
    before = refused_posts(gateway)
    with pytest.raises(Raised, match="poor") as refused:
        sdks.call("poor", method, asked)

    assert (refused.value.kind, refused.value.status) == (kind, 429)
    assert refused_posts(gateway, at_least=before + 1) == before + 1
    assert not any(providers.requests(vendor) for vendor in Vendor)


@pytest.mark.parametrize(
    ("method", "asked", "kind"),
    [
        ("openai: chat.completions.create", chat("gpt"), "AuthenticationError"),
        ("anthropic: messages.create", chat("claude"), "AuthenticationError"),
        ("google: models.generateContent", content("gem"), "ApiError"),
    ],
)
def test_an_unknown_key_is_one_request_too(
    sdks: NodeSdks, gateway: Gateway, method: str, asked: dict[str, Any], kind: str
) -> None:
    before = refused_posts(gateway)
    with pytest.raises(Raised) as refused:
        sdks.call("sk-of-nobody", method, asked)

    assert (refused.value.kind, refused.value.status) == (kind, 401)
    assert refused_posts(gateway, at_least=before + 1) == before + 1


def check_booked(sdks: NodeSdks, providers: Providers, vendor: Vendor, input_tokens: int, output_tokens: int) -> None:
    """The newest call has the tokens that the client was told, and they are those of the provider's own bill."""
    call = newest_call(sdks.gateway, "app")
    bill = providers.by_vendor[vendor].bills[-1].usage
    assert (call["input_tokens"], call["output_tokens"]) == (bill.input_tokens, bill.output_tokens)
    assert (call["input_tokens"], call["output_tokens"]) == (input_tokens, output_tokens)
    assert call["usage_source"] == "provider"
    assert Decimal(call["cost_usd"]) == Decimal(input_tokens * 3 + output_tokens * 15) / 1_000_000
