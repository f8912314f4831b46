"""Official SDKs reach providers of the other dialect, and are billed for what those report."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from pydantic import BaseModel

from services.kernel.usage import Usage
from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

PICTURE = base64.b64encode(b"\x89PNG" + b"x" * 60).decode()
# US dollars per million tokens. No two rates are alike, so that no part can be taken for another.
PRICES = {
    "input": 3.000001,
    "output": 15.000003,
    "cached_input": 0.300007,
    "cache_write_5m": 3.750011,
    "cache_write_1h": 6.000013,
    "reasoning": 15.000017,
}


def configuration(vendors: Providers) -> dict[str, Any]:
    return {
        "providers": {
            "messages": {
                "protocol": "anthropic",
                "base_url": vendors.listeners[Vendor.ANTHROPIC].url,
                "api_key": {"env": "ANTHROPIC_API_KEY"},
            },
            "chat": {
                "preset": "openai",
                "base_url": f"{vendors.listeners[Vendor.OPENAI].url}/v1",
                "api_key": {"env": "OPENAI_API_KEY"},
            },
        },
        "models": {
            "claude": {"targets": ["messages/claude-haiku-4-5"]},
            "gpt": {"targets": ["chat/gpt-4o"]},
            "both": {"targets": ["messages/claude-haiku-4-5"], "fallbacks": [{"to": ["chat/gpt-4o"]}]},
        },
        "prices": {"messages/claude-haiku-4-5": PRICES, "chat/gpt-4o": PRICES},
        "policies": [{"name": "everybody", "limits": [{"spend": 1000, "per": "month"}]}],
        "keys": [{"name": "app"}],
    }


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("translation"), configuration(vendors), vendors) as running:
        yield running


@pytest.fixture
def chat(gateway: Gateway, providers: Providers) -> openai.OpenAI:
    return gateway.openai("app")


@pytest.fixture
def messages(gateway: Gateway, providers: Providers) -> anthropic.Anthropic:
    return gateway.anthropic("app")


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def cost_of(usage: Usage) -> Decimal:
    """What a call costs by the provider's own count, rounded up to a nano-dollar."""
    pico = sum(count * int(Decimal(str(PRICES[name])) * 1_000_000) for name, count in usage.buckets.items())
    return Decimal(-(-pico // 1_000)) / 1_000_000_000


def assert_booked_as_billed(gateway: Gateway, providers: Providers, vendor: Vendor) -> list[Decimal]:
    """Compares every call since the last reset with the provider's bill."""
    gateway.settle()
    bills = [cost_of(bill.usage) for bill in providers.by_vendor[vendor].bills]
    booked = [Decimal(call["cost_usd"]) for call in gateway.calls(limit=len(bills))]
    assert bills
    assert booked[::-1] == bills
    return bills


def test_chat_reaches_messages(gateway: Gateway, providers: Providers, chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model="claude", messages=ask("Answer in 20 tokens."))
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    stream = chat.chat.completions.create(
        model="claude", messages=ask("Answer in 20 tokens."), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == answer.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage == answer.usage
    assert_booked_as_billed(gateway, providers, Vendor.ANTHROPIC)


def test_messages_reaches_chat(gateway: Gateway, providers: Providers, messages: anthropic.Anthropic) -> None:
    answer = messages.messages.create(model="gpt", max_tokens=100, messages=ask("Answer in 20 tokens."))
    assert answer.stop_reason == "end_turn"
    with messages.messages.stream(model="gpt", max_tokens=100, messages=ask("Answer in 20 tokens.")) as stream:
        whole = stream.get_final_message()
    assert [block.model_dump() for block in whole.content] == [block.model_dump() for block in answer.content]
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", answer.usage.output_tokens)
    assert_booked_as_billed(gateway, providers, Vendor.OPENAI)


LOOK = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}


def said(message: Any) -> dict[str, Any]:
    """A message of the model as clients send it back."""
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls or ()
    ]
    return {"role": "assistant", "content": message.content, **({"tool_calls": calls} if calls else {})}


@pytest.mark.parametrize("streams", [False, True])
def test_a_chat_client_loops_over_a_tool(
    gateway: Gateway, providers: Providers, chat: openai.OpenAI, streams: bool
) -> None:
    tools: Any = [{"type": "function", "function": {"name": "look_up", "description": "d", "parameters": LOOK}}]
    conversation: list[Any] = []
    for _ in range(3):
        conversation += ask("Call look_up, please.")
        for reason in ("tool_calls", "stop"):
            given: Any = {"model": "claude", "messages": conversation, "tools": tools}
            if streams:
                with chat.chat.completions.stream(**given) as stream:
                    choice: Any = stream.get_final_completion().choices[0]
            else:
                choice = chat.chat.completions.create(**given).choices[0]
            assert choice.finish_reason == reason
            conversation.append(said(choice.message))
            for call in choice.message.tool_calls or ():
                assert set(json.loads(call.function.arguments)) == {"city", "days"}
                conversation.append({"role": "tool", "tool_call_id": call.id, "content": "rain"})
    sent = providers.requests(Vendor.ANTHROPIC)[-1].document["messages"]
    assert [each["role"] for each in sent] == ["user", "assistant"] * 5 + ["user"]
    assert sent[2]["content"][0]["type"] == "tool_result"
    assert_booked_as_billed(gateway, providers, Vendor.ANTHROPIC)


@pytest.mark.parametrize("streams", [False, True])
def test_a_messages_client_loops_over_a_tool(
    gateway: Gateway, providers: Providers, messages: anthropic.Anthropic, streams: bool
) -> None:
    tools: Any = [{"name": "look_up", "description": "d", "input_schema": LOOK}]
    conversation = ask("Call look_up, please.")
    for _ in range(3):
        given: Any = {"model": "gpt", "max_tokens": 500, "messages": conversation, "tools": tools}
        if streams:
            with messages.messages.stream(**given) as stream:
                answer: Any = stream.get_final_message()
        else:
            answer = messages.messages.create(**given)
        assert answer.stop_reason == "tool_use"
        (use,) = [block for block in answer.content if block.type == "tool_use"]
        assert set(use.input) == {"city", "days"}
        conversation.append({"role": "assistant", "content": [block.to_dict() for block in answer.content]})
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "rain"}
        conversation.append({"role": "user", "content": [result, {"type": "text", "text": "Call look_up again."}]})
    sent = providers.requests(Vendor.OPENAI)[-1].document["messages"]
    assert [each["role"] for each in sent] == ["user", *["assistant", "tool", "user"] * 2]
    assert_booked_as_billed(gateway, providers, Vendor.OPENAI)


class Found(BaseModel):
    city: str
    days: int


def test_answers_have_the_form_that_was_asked_for(
    gateway: Gateway, providers: Providers, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    parsed = chat.chat.completions.parse(model="claude", messages=ask("Which city?"), response_format=Found)
    assert isinstance(parsed.choices[0].message.parsed, Found)
    form = {"format": {"type": "json_schema", "schema": Found.model_json_schema()}}
    answer: Any = messages.messages.create(
        model="gpt", max_tokens=500, messages=ask("Which city?"), extra_body={"output_config": form}
    )
    assert Found.model_validate_json(answer.content[0].text)


def test_pictures_reach_the_provider(
    gateway: Gateway, providers: Providers, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    picture: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    text: Any = {"type": "text", "text": "Answer in 5 tokens."}
    chat.chat.completions.create(model="claude", messages=[{"role": "user", "content": [picture, text]}])
    sent = providers.requests(Vendor.ANTHROPIC)[-1].document["messages"][0]["content"]
    assert sent[0]["source"] == {"type": "base64", "media_type": "image/png", "data": PICTURE}
    block: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    messages.messages.create(model="gpt", max_tokens=50, messages=[{"role": "user", "content": [block, text]}])
    sent = providers.requests(Vendor.OPENAI)[-1].document["messages"][0]["content"]
    assert sent[0] == picture


def test_thinking_is_shown_and_billed(gateway: Gateway, providers: Providers, chat: openai.OpenAI) -> None:
    answer: Any = chat.chat.completions.create(
        model="claude", messages=ask("Answer in 5 tokens."), reasoning_effort="low", max_tokens=20_000
    )
    assert answer.choices[0].message.reasoning_content
    assert answer.choices[0].message.thinking_blocks[0]["signature"]
    assert_booked_as_billed(gateway, providers, Vendor.ANTHROPIC)


def test_what_the_cache_saved_is_billed_to_the_nano_dollar(
    gateway: Gateway, providers: Providers, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    long = "The budget holds because every call is reserved. " * 400
    for ttl in ("5m", "1h"):
        marked: Any = {"type": "text", "text": ttl + long, "cache_control": {"type": "ephemeral", "ttl": ttl}}
        content: Any = [marked, {"type": "text", "text": "Answer in 5 tokens."}]
        for streams in (False, True):
            found: Any = chat.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": content}], stream=streams
            )
            if streams:
                list(found)
    written, read, written_1h, read_1h = assert_booked_as_billed(gateway, providers, Vendor.ANTHROPIC)
    assert written_1h > written > read
    assert written_1h > read_1h
    for _ in range(2):
        messages.messages.create(model="gpt", max_tokens=50, messages=ask(f"Answer in 5 tokens. {long}"))
    first, second = assert_booked_as_billed(gateway, providers, Vendor.OPENAI)
    assert first > second


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (400, (openai.BadRequestError, anthropic.BadRequestError)),
        (429, (openai.RateLimitError, anthropic.RateLimitError)),
        (500, (openai.InternalServerError, anthropic.InternalServerError)),
        (529, (openai.InternalServerError, anthropic.InternalServerError)),
        # The provider refuses the gateway's credential, not the client's.
        (401, (openai.InternalServerError, anthropic.InternalServerError)),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_errors_are_those_of_the_clients_own_sdk(
    gateway: Gateway, providers: Providers, status: int, kinds: tuple[type, type], streams: bool
) -> None:
    for vendor in (Vendor.ANTHROPIC, Vendor.OPENAI):
        providers.fault(vendor, Fault(FaultKind.STATUS, status=status))
    with pytest.raises(kinds[0]) as chats:
        gateway.openai("app").chat.completions.create(model="claude", messages=ask("x"), stream=streams)
    with pytest.raises(kinds[1]) as messages:
        gateway.anthropic("app").messages.create(model="gpt", max_tokens=9, messages=ask("x"), stream=streams)
    expected = 502 if status == 401 else status
    answers = []
    for raised in (chats.value, messages.value):
        assert isinstance(raised, openai.APIStatusError | anthropic.APIStatusError)
        assert raised.status_code == expected
        answers.append(raised.response.json())
    assert set(answers[0]) == {"error"}
    assert answers[1]["type"] == "error"


def test_a_stream_that_breaks_raises_in_the_sdk(gateway: Gateway, providers: Providers) -> None:
    for vendor in (Vendor.ANTHROPIC, Vendor.OPENAI):
        providers.fault(vendor, Fault(FaultKind.CUT, after_events=20))
    chat, messages = gateway.openai("app"), gateway.anthropic("app")
    question = ask("Answer in 90 tokens.")
    with pytest.raises((openai.OpenAIError, httpx2.HTTPError)):
        list(chat.chat.completions.create(model="claude", messages=question, stream=True))
    with (
        pytest.raises((anthropic.AnthropicError, httpx2.HTTPError, httpx.HTTPError)),
        messages.messages.stream(model="gpt", max_tokens=500, messages=question) as stream,
    ):
        stream.get_final_message()


def test_a_chain_goes_on_in_the_other_dialect_within_one_request(
    gateway: Gateway, providers: Providers, chat: openai.OpenAI, messages: anthropic.Anthropic
) -> None:
    for client in (chat, messages):
        providers.fault(Vendor.ANTHROPIC, Fault(FaultKind.STATUS, status=500))
        raw: Any
        if client is chat:
            raw = chat.chat.completions.with_raw_response.create(model="both", messages=ask("Answer in 5 tokens."))
        else:
            raw = messages.messages.with_raw_response.create(
                model="both", max_tokens=50, messages=ask("Answer in 5 tokens.")
            )
        assert raw.headers["x-spendgate-model-served"] == "chat/gpt-4o"
        assert raw.headers["x-spendgate-attempts"] == "2"
        assert raw.parse().usage
    assert_booked_as_billed(gateway, providers, Vendor.OPENAI)


def test_what_the_provider_cannot_take_is_named_to_the_client(
    gateway: Gateway, providers: Providers, chat: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        chat.chat.completions.create(model="claude", messages=ask("x"), logprobs=True)
    raw = chat.chat.completions.with_raw_response.create(
        model="claude", messages=ask("Answer in 5 tokens."), seed=4, max_tokens=50
    )
    assert raw.headers["x-spendgate-ignored"] == "seed"
    gateway.settle()
    refused = gateway.calls(limit=2)[-1]
    assert Decimal(refused["cost_usd"]) == 0
