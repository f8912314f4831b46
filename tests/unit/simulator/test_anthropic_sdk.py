from __future__ import annotations

from typing import Any

import anthropic
import httpx
import pytest

HELLO: Any = [{"role": "user", "content": "Answer in 10 tokens, please."}]
LONG = "word " * 1200
MODEL = "claude-haiku-4-5"


def test_a_message_and_its_stream_agree(anthropic_stage: Any) -> None:
    client = anthropic_stage.anthropic()
    whole = client.messages.create(model=MODEL, messages=HELLO, max_tokens=100)
    with client.messages.stream(model=MODEL, messages=HELLO, max_tokens=100) as stream:
        streamed = stream.get_final_message()
    assert whole.usage.output_tokens == streamed.usage.output_tokens == 10
    assert whole.usage.input_tokens == streamed.usage.input_tokens
    assert whole.content[0].text == streamed.content[0].text
    assert whole.stop_reason == streamed.stop_reason == "end_turn"


def test_the_bound_cuts_the_answer(anthropic_stage: Any) -> None:
    done = anthropic_stage.anthropic().messages.create(model=MODEL, messages=HELLO, max_tokens=3)
    assert (done.usage.output_tokens, done.stop_reason) == (3, "max_tokens")


@pytest.mark.parametrize(("ttl", "written"), [("5m", "ephemeral_5m_input_tokens"), ("1h", "ephemeral_1h_input_tokens")])
def test_marked_prompts_are_written_to_the_cache_and_then_read(anthropic_stage: Any, ttl: str, written: str) -> None:
    client = anthropic_stage.anthropic()
    system: Any = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
    first = client.messages.create(model=MODEL, messages=HELLO, system=system, max_tokens=50).usage
    second = client.messages.create(model=MODEL, messages=HELLO, system=system, max_tokens=50).usage
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (1200, 0)
    assert getattr(first.cache_creation, written) == 1200
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, 1200)
    assert first.input_tokens == second.input_tokens < 30


def test_unmarked_prompts_are_not_cached(anthropic_stage: Any) -> None:
    client = anthropic_stage.anthropic()
    long: Any = [{"role": "user", "content": LONG}]
    for _ in range(2):
        usage = client.messages.create(model=MODEL, messages=long, max_tokens=50).usage
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_tools_and_thinking_come_as_blocks_also_in_a_stream(anthropic_stage: Any) -> None:
    ask: Any = {
        "model": MODEL,
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Use get_weather."}],
        "tools": [
            {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
        ],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    client = anthropic_stage.anthropic()
    whole = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert [block.type for block in message.content] == ["thinking", "tool_use"]
        assert message.content[1].input == {"city": "simulated"}
        assert message.stop_reason == "tool_use"
    assert whole.usage.output_tokens_details.thinking_tokens == 64


def test_another_key_is_refused_in_the_vendors_words(anthropic_stage: Any) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_stage.anthropic(key="wrong").messages.create(model=MODEL, messages=HELLO, max_tokens=5)


def test_a_request_without_a_version_is_refused(anthropic_stage: Any) -> None:
    answer = httpx.post(
        anthropic_stage.listener.url + "/v1/messages",
        headers={"x-api-key": "provider-key"},
        json={"model": MODEL, "max_tokens": 5, "messages": HELLO},
    )
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
