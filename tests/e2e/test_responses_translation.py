"""OpenAI's SDK calls `/v1/responses`, and providers of chats and of messages answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import httpx2
import openai
import pytest
from pydantic import BaseModel

from services.kernel.usage import Usage
from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.limited_keys import limited_keys

pytestmark = pytest.mark.e2e

PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG" + b"x" * 60).decode()
# US dollars per million tokens. No two rates are alike, so that no part can be taken for another.
PRICES = {"input": 3.000001, "output": 15.000003, "cached_input": 0.300007, "reasoning": 15.000017}
LIMITS: dict[str, dict[str, Any]] = {"app": {"spend": 1000}, "narrow": {"output_tokens": 100}, "free": {"requests": 99}}
TARGETS = {"gpt": "chat/gpt-4o", "thinker": "chat/gpt-5-mini", "claude": "messages/claude-haiku-4-5"}
TOOL: Any = {
    "type": "function",
    "name": "look_up",
    "description": "d",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}


def configuration(vendors: Providers) -> dict[str, Any]:
    chat = {"base_url": f"{vendors.listeners[Vendor.OPENAI].url}/v1", "api_key": {"env": "OPENAI_API_KEY"}}
    return {
        "providers": {
            # A vendor with chats and nothing else.
            "chat": {"preset": "cerebras", **chat},
            "native": {"preset": "openai", **chat},
            "other": {
                "protocol": "gemini",
                "base_url": vendors.listeners[Vendor.GEMINI].url,
                "api_key": {"env": "GEMINI_API_KEY"},
            },
            "messages": {
                "protocol": "anthropic",
                "base_url": vendors.listeners[Vendor.ANTHROPIC].url,
                "api_key": {"env": "ANTHROPIC_API_KEY"},
            },
        },
        "models": {
            **{name: {"targets": [target]} for name, target in TARGETS.items()},
            "gemini": {"targets": ["other/gemini-2.5-flash"]},
            "both": {"targets": ["native/gpt-4o"], "fallbacks": [{"to": ["chat/gpt-4o"]}]},
            "chat-first": {"targets": ["chat/gpt-4o"], "fallbacks": [{"to": ["native/gpt-4o"]}]},
        },
        "prices": dict.fromkeys((*TARGETS.values(), "native/gpt-4o"), PRICES),
        **limited_keys(LIMITS),
    }


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("responses"), configuration(vendors), vendors) as running:
        yield running


@pytest.fixture
def client(gateway: Gateway, providers: Providers) -> openai.OpenAI:
    return gateway.openai("app")


def vendor_of(model: str) -> Vendor:
    return Vendor.ANTHROPIC if model == "claude" else Vendor.OPENAI


def cost_of(usage: Usage) -> Decimal:
    """What a call costs by the provider's own count, rounded up to a nano-dollar."""
    pico = sum(count * int(Decimal(str(PRICES[name])) * 1_000_000) for name, count in usage.buckets.items())
    return Decimal(-(-pico // 1_000)) / 1_000_000_000


def assert_booked_as_billed(gateway: Gateway, providers: Providers, vendor: Vendor) -> None:
    """Compares every call since the last reset with the provider's bill."""
    gateway.settle()
    bills = [cost_of(bill.usage) for bill in providers.by_vendor[vendor].bills]
    booked = [Decimal(call["cost_usd"]) for call in gateway.calls(limit=len(bills))]
    assert bills
    assert booked[::-1] == bills


@pytest.mark.parametrize("model", TARGETS)
def test_answers_and_streams_say_the_same_and_are_billed_as_the_provider_counted(
    gateway: Gateway, providers: Providers, client: openai.OpenAI, model: str
) -> None:
    asked: Any = {
        "model": model,
        "input": "Answer in 20 tokens.",
        "instructions": "Be brief.",
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 9000,
    }
    if model != "gpt":
        asked["reasoning"] = {"effort": "low", "summary": "auto"}
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert whole.status == done.status == "completed"
    assert done.output_text == whole.output_text != ""
    assert [item.type for item in done.output] == [item.type for item in whole.output]
    assert whole.usage is not None
    assert done.usage == whole.usage
    assert (whole.max_output_tokens, whole.instructions) == (9000, "Be brief.")
    (bill, _) = providers.by_vendor[vendor_of(model)].bills
    reasoning = whole.usage.output_tokens_details.reasoning_tokens
    assert reasoning == bill.usage.buckets.get("reasoning", 0)
    if model == "claude":
        assert whole.output[0].to_dict()["encrypted_content"]
    assert_booked_as_billed(gateway, providers, vendor_of(model))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_a_loop_of_tools_goes_over_many_turns(
    gateway: Gateway, providers: Providers, client: openai.OpenAI, model: str, streams: bool
) -> None:
    items: list[Any] = []
    for _ in range(3):
        items.append({"role": "user", "content": "Call look_up, please."})
        for kind in ("function_call", "message"):
            given: Any = {"model": model, "input": items, "tools": [TOOL], "store": False}
            given |= {"include": ["reasoning.encrypted_content"]}
            if streams:
                with client.responses.stream(**given) as stream:
                    done: Any = stream.get_final_response()
            else:
                done = client.responses.create(**given)
            assert done.output[-1].type == kind
            items += done.output
            for call in done.output:
                if call.type == "function_call":
                    assert set(json.loads(call.arguments)) == {"city", "days"}
                    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain"})
    sent = providers.requests(vendor_of(model))[-1]
    roles = [each["role"] for each in sent.document["messages"]]
    if model == "claude":
        assert roles == ["user", "assistant"] * 5 + ["user"]
        assert sent.document["tools"][0]["strict"] is True
    else:
        assert sent.path == "/v1/chat/completions"
        assert roles == [*["user", "assistant", "tool", "assistant"] * 2, "user", "assistant", "tool"]
    assert_booked_as_billed(gateway, providers, vendor_of(model))


class Found(BaseModel):
    city: str
    days: int


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_structured_output_is_parsed(gateway: Gateway, client: openai.OpenAI, model: str) -> None:
    done = client.responses.parse(model=model, input="Which city?", text_format=Found)
    assert isinstance(done.output_parsed, Found)
    with client.responses.stream(model=model, input="Which city?", text_format=Found) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Found)


def test_pictures_and_several_results_reach_the_provider(
    gateway: Gateway, providers: Providers, client: openai.OpenAI
) -> None:
    calls = [
        {"type": "function_call", "call_id": f"t{n}", "name": "look_up", "arguments": '{"city":"x","days":1}'}
        for n in (1, 2)
    ]
    picture: Any = {"type": "input_image", "image_url": PICTURE}
    results = [{"type": "function_call_output", "call_id": f"t{n}", "output": [picture]} for n in (1, 2)]
    ask: Any = {"role": "user", "content": [picture, {"type": "input_text", "text": "Answer in 5 tokens."}]}
    for model in ("gpt", "claude"):
        client.responses.create(model=model, input=[ask, *calls, *results], tools=[TOOL])
    chats = providers.requests(Vendor.OPENAI)[-1].document["messages"]
    assert [each["role"] for each in chats] == ["user", "assistant", "tool", "tool", "user"]
    assert [part["image_url"]["url"] for part in chats[-1]["content"]] == [PICTURE] * 2
    user, assistant, last = providers.requests(Vendor.ANTHROPIC)[-1].document["messages"]
    assert user["content"][0]["source"]["media_type"] == "image/png"
    assert [block["type"] for block in assistant["content"]] == ["tool_use"] * 2
    assert [block["type"] for block in last["content"]] == ["tool_result", "tool_result", "image", "image"]


def test_output_is_cut_to_what_is_left_and_then_refused(gateway: Gateway, providers: Providers) -> None:
    client = gateway.openai("narrow")
    first = client.responses.with_raw_response.create(model="gpt", input="Answer in 80 tokens, please.")
    (received,) = providers.requests(Vendor.OPENAI)
    assert first.headers["x-spendgate-output-capped"] == "100"
    assert received.document["max_completion_tokens"] == 100
    assert "max_output_tokens" not in received.document
    gateway.settle()
    second = client.responses.create(model="gpt", input="Answer in 80 tokens, please.", max_output_tokens=20)
    assert second.status == "incomplete"
    assert second.incomplete_details is not None
    assert second.incomplete_details.reason == "max_output_tokens"
    gateway.settle()
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="gpt", input="Answer in 80 tokens, please.")
    assert len(providers.requests(Vendor.OPENAI)) == 2


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
def test_errors_are_those_of_the_sdk(
    gateway: Gateway, providers: Providers, model: str, streams: bool, status: int, kind: type
) -> None:
    providers.fault(vendor_of(model), Fault(FaultKind.STATUS, status=status))
    with pytest.raises(kind) as raised:
        gateway.openai("app").responses.create(model=model, input="x", stream=streams)
    assert isinstance(raised.value, openai.APIStatusError)
    assert set(raised.value.response.json()) == {"error"}


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_a_stream_that_breaks_raises_in_the_sdk(gateway: Gateway, providers: Providers, model: str) -> None:
    providers.fault(vendor_of(model), Fault(FaultKind.CUT, after_events=20))
    with pytest.raises((openai.OpenAIError, httpx2.HTTPError, httpx.HTTPError)):
        list(gateway.openai("app").responses.create(model=model, input="Answer in 90 tokens.", stream=True))


@pytest.mark.parametrize("streams", [False, True])
def test_a_chain_goes_on_from_responses_to_chats_within_one_request(
    gateway: Gateway, providers: Providers, client: openai.OpenAI, streams: bool
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500))
    raw: Any = client.responses.with_raw_response.create(model="both", input="Answer in 5 tokens.", stream=streams)
    assert raw.headers["x-spendgate-model-served"] == "chat/gpt-4o"
    assert raw.headers["x-spendgate-attempts"] == "2"
    found = raw.parse()
    done = list(found)[-1].response if streams else found
    assert (done.status, done.usage.output_tokens) == ("completed", 5)
    assert [each.path for each in providers.requests(Vendor.OPENAI)] == ["/v1/responses", "/v1/chat/completions"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"previous_response_id": "resp_1"}, "stored input"),
        ({"conversation": "conv_1"}, "stored input"),
        ({"prompt": {"id": "pmpt_1"}}, "stored input"),
        ({"background": True}, "background"),
        ({"context_management": [{"type": "compaction"}]}, "compaction"),
        ({"tools": [{"type": "web_search"}]}, "server tools"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "custom tools"),
    ],
)
def test_what_only_responses_have_goes_to_a_face_that_has_them(
    gateway: Gateway, providers: Providers, more: dict[str, Any], named: str
) -> None:
    client = gateway.openai("free")
    raw = client.responses.with_raw_response.create(model="chat-first", input="Answer in 5 tokens.", **more)
    assert raw.headers["x-spendgate-model-served"] == "native/gpt-4o"
    assert raw.headers["x-spendgate-downgraded"] == "unfit"
    (received,) = providers.requests(Vendor.OPENAI)
    assert received.path == "/v1/responses"
    with pytest.raises(openai.BadRequestError, match=f"carries no {named}"):
        client.responses.create(model="gpt", input="x", **more)
    assert len(providers.requests(Vendor.OPENAI)) == 1


def test_a_target_that_speaks_neither_is_not_asked(gateway: Gateway, providers: Providers) -> None:
    with pytest.raises(openai.BadRequestError, match="none of its targets serves responses in the openai dialect"):
        gateway.openai("app").responses.create(model="gemini", input="x")
    assert providers.requests(Vendor.GEMINI) == []
