from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from services.simulator.tokens import MESSAGE_TOKENS, count_tokens
from services.simulator.wire import SIMULATED

HELLO: Any = [{"role": "user", "content": "Answer in 10 tokens, please."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


def test_answers_with_the_asked_number_of_tokens_and_honest_usage(openai_stage: Any) -> None:
    done = openai_stage.openai().chat.completions.create(model="gpt-4o", messages=HELLO)
    assert done.usage.prompt_tokens == count_tokens(HELLO[0]["content"]) + MESSAGE_TOKENS
    assert done.usage.completion_tokens == 10 == count_tokens(done.choices[0].message.content)
    assert done.usage.total_tokens == done.usage.prompt_tokens + 10
    assert done.choices[0].finish_reason == "stop"
    assert done.system_fingerprint == SIMULATED


def test_a_stream_brings_the_same_text_and_usage_in_a_last_chunk_without_choices(openai_stage: Any) -> None:
    client = openai_stage.openai()
    whole = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_without_include_usage_a_stream_says_nothing_of_it(openai_stage: Any) -> None:
    chunks = list(openai_stage.openai().chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert all(chunk.choices and "usage" not in chunk.model_fields_set for chunk in chunks)


@pytest.mark.parametrize("bound", ["max_tokens", "max_completion_tokens"])
def test_stops_at_the_clients_bound_and_says_length(openai_stage: Any, bound: str) -> None:
    done = openai_stage.openai().chat.completions.create(model="gpt-4o", messages=HELLO, **{bound: 4})
    assert (done.usage.completion_tokens, done.choices[0].finish_reason) == (4, "length")


def test_a_reasoning_model_counts_its_thoughts_within_the_output(openai_stage: Any) -> None:
    done = openai_stage.openai().chat.completions.create(model="o4-mini", messages=HELLO)
    assert done.usage.completion_tokens_details.reasoning_tokens == 64
    assert done.usage.completion_tokens == 74


def test_a_repeated_long_prompt_is_read_from_the_cache_in_steps_of_128(openai_stage: Any) -> None:
    long: Any = [{"role": "user", "content": "word " * 1500}]
    client = openai_stage.openai()
    first = client.chat.completions.create(model="gpt-4o", messages=long)
    second = client.chat.completions.create(model="gpt-4o", messages=long)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens_details.cached_tokens == 1024 + 3 * 128
    assert second.usage.prompt_tokens == first.usage.prompt_tokens


def test_calls_the_tool_that_the_question_names_also_in_a_stream(openai_stage: Any) -> None:
    client = openai_stage.openai()
    ask: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Use get_weather."}], "tools": [WEATHER]}
    done = client.chat.completions.create(**ask)
    call = done.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "simulated", "days": 7},
    )
    assert done.choices[0].finish_reason == "tool_calls"
    with client.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == call.function.arguments
    answered = [
        *ask["messages"],
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "get_weather says rain"},
    ]
    assert client.chat.completions.create(**{**ask, "messages": answered}).choices[0].finish_reason == "stop"


def test_a_json_schema_is_satisfied(openai_stage: Any) -> None:
    class Row(BaseModel):
        name: str
        amounts: list[int]

    class Report(BaseModel):
        rows: list[Row]
        final: bool

    done = openai_stage.openai().chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Report)
    assert done.choices[0].message.parsed == Report(rows=[Row(name="simulated", amounts=[7])], final=True)


def test_another_key_is_refused_in_the_vendors_words(openai_stage: Any) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        openai_stage.openai(key="wrong").chat.completions.create(model="gpt-4o", messages=HELLO)
    assert refused.value.code == "invalid_api_key"


def test_every_request_is_on_record(openai_stage: Any) -> None:
    openai_stage.openai().chat.completions.create(
        model="gpt-4o", messages=HELLO, extra_headers={"x-envoy-attempt-count": "3"}
    )
    (received,) = openai_stage.provider.requests
    assert received.attempt == 3
    assert received.document["messages"] == HELLO
    assert received.headers["authorization"] == "Bearer provider-key"


def test_the_compatible_faces_of_other_vendors_speak_it_too(anthropic_stage: Any, gemini_stage: Any) -> None:
    claude = anthropic_stage.openai().chat.completions.create(model="claude-haiku-4-5", messages=HELLO)
    gemini = gemini_stage.openai("/v1beta/openai").chat.completions.create(model="gemini-2.0-flash", messages=HELLO)
    assert claude.usage.completion_tokens == gemini.usage.completion_tokens == 10
