"""Requests of Chat clients to providers that speak Messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.router.domain.translation import CHAT_TO_MESSAGES, Outcome
from tests.worlds.lua_scripts import load_module
from tests.worlds.translators import RefusedError, translate

HELLO = {"role": "user", "content": "hi"}


def chat(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages or (HELLO,)), **members}


def sent(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return translate(chat(*messages, **members), "anthropic").body


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **more}}


def call(number: int, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": "look", "arguments": arguments}}


def test_a_conversation_of_tools_keeps_its_order_and_every_digit() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": 'é "q"\n'}]},
        {
            "role": "assistant",
            "content": "let me look",
            "tool_calls": [call(1, '{"n": 12345678901234567890, "e": 0.10}'), call(2, "")],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": ""},
        {"role": "user", "content": "and?"},
    ]
    request = translate(chat(*messages), "anthropic")
    assert request.body["system"] == [{"type": "text", "text": "be kind"}]
    user, assistant, results = request.body["messages"]
    assert user == {"role": "user", "content": [{"type": "text", "text": 'é "q"\n'}]}
    assert [block["type"] for block in assistant["content"]] == ["text", "tool_use", "tool_use"]
    assert '"input":{"n": 12345678901234567890, "e": 0.10}' in request.text
    assert assistant["content"][2]["input"] == {}
    assert results["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "one"}]},
        {"type": "tool_result", "tool_use_id": "call_2"},
        {"type": "text", "text": "and?"},
    ]
    assert request.ignored == set()


def test_tools_and_the_choice_among_them() -> None:
    body = sent(tools=[tool("a", description="d", strict=True), {"type": "function", "function": {"name": "b"}}])
    assert body["tools"] == [
        {"name": "a", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"name": "b", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in body
    named = {"type": "function", "function": {"name": "a"}}
    for choice, expected in (
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        (named, {"type": "tool", "name": "a"}),
    ):
        assert sent(tools=[tool("a")], tool_choice=choice)["tool_choice"] == expected
    single = sent(tools=[tool("a")], parallel_tool_calls=False)["tool_choice"]
    assert single == {"type": "auto", "disable_parallel_tool_use": True}
    none = sent(tools=[tool("a")], tool_choice="none", parallel_tool_calls=False)["tool_choice"]
    assert none == {"type": "none"}


def test_images_and_documents_by_data_and_by_address() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}},
    ]
    request = translate(chat({"role": "user", "content": parts}), "anthropic")
    assert request.body["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"},
            "title": "a.pdf",
        },
    ]
    assert request.ignored == {"messages.content.image_url.detail"}


def test_a_slash_that_a_client_escapes_is_a_slash() -> None:
    body = chat(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,A/B="}}]}
    )
    text = json.dumps(body).replace("/", "\\/")
    source = translate(json.loads(text), "anthropic").body["messages"][0]["content"][0]["source"]
    assert source["data"] == "A/B="


def test_marks_for_the_prompt_cache_stay_where_they_are() -> None:
    mark, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    body = sent(
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": hour}]},
        {"role": "user", "content": "hi", "cache_control": mark},
        {"role": "assistant", "content": "", "tool_calls": [call(1, "{}")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "r", "cache_control": mark},
        tools=[{**tool("look"), "cache_control": hour}],
    )
    assert body["system"][0]["cache_control"] == hour
    assert body["tools"][0]["cache_control"] == hour
    assert body["messages"][0]["content"][0]["cache_control"] == mark
    assert body["messages"][2]["content"][0]["cache_control"] == mark


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 12345678901234567890}}}
FORM = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}


def test_the_form_of_an_answer_is_the_models_own_or_a_tool_that_it_must_call() -> None:
    own = translate(chat(response_format=FORM), "anthropic")
    assert own.body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert own.forced is None
    forced = translate(chat(response_format=FORM, reasoning_effort="high"), "anthropic", structured="tool")
    assert forced.body["tools"][0]["input_schema"] == SCHEMA
    assert forced.body["tool_choice"] == {"type": "tool", "name": "out"}
    assert forced.forced == '"out"'
    assert "thinking" not in forced.body
    assert forced.ignored == {"reasoning_effort"}
    with pytest.raises(RefusedError, match="response_format"):
        translate(chat(response_format=FORM, tools=[tool("a")]), "anthropic", structured="tool")
    words = sent(response_format={"type": "json_object"})["system"]
    assert "JSON" in words[-1]["text"]


def test_an_effort_becomes_a_budget_that_leaves_room_for_the_answer() -> None:
    assert sent(reasoning_effort="high", max_tokens=60_000)["thinking"] == {"type": "enabled", "budget_tokens": 24_576}
    small = sent(reasoning_effort="high", max_tokens=8_000)
    assert small["thinking"]["budget_tokens"] == 4_000
    tiny = translate(chat(reasoning_effort="high", max_tokens=2_000), "anthropic")
    assert "thinking" not in tiny.body
    assert tiny.ignored == {"reasoning_effort"}
    assert "thinking" not in sent(reasoning_effort="none")
    newest = translate(chat(reasoning_effort="minimal", temperature=0.5), "anthropic", thinking="adaptive").body
    assert newest["thinking"] == {"type": "adaptive"}
    assert newest["output_config"] == {"effort": "low"}
    assert "temperature" not in newest
    with pytest.raises(RefusedError, match="reasoning_effort"):
        sent(reasoning_effort="enormous")


def test_blocks_of_thinking_go_back_as_the_provider_made_them() -> None:
    blocks = [{"type": "thinking", "thinking": 'a "b"', "signature": "s=="}]
    body = sent(HELLO, {"role": "assistant", "content": "x", "thinking_blocks": blocks}, HELLO)
    assert body["messages"][1]["content"][0] == blocks[0]


@pytest.mark.parametrize(
    ("members", "granted", "expected"),
    [
        ({}, 500, 500),
        ({"max_tokens": 100}, 500, 100),
        ({"max_tokens": 100, "max_completion_tokens": 200}, 500, 200),
        ({"max_tokens": 1000}, 500, 500),
        ({"max_tokens": -1}, 500, 500),
        ({"max_tokens": 100.0}, 500, 100),
    ],
)
def test_no_answer_may_be_longer_than_quota_granted(members: dict[str, Any], granted: int, expected: int) -> None:
    assert translate(chat(**members), "anthropic", output_bound=granted).body["max_tokens"] == expected


def test_what_draws_tokens_is_carried_as_far_as_the_model_takes_it() -> None:
    assert sent(temperature=0.3, top_k=5)["temperature"] == 0.3
    hot = translate(chat(temperature=1.7, top_p=0.5), "anthropic")
    assert hot.body["temperature"] == 1
    assert "top_p" not in hot.body
    assert hot.ignored == {"temperature above 1", "top_p"}
    none = translate(chat(temperature=0.3, top_k=5), "anthropic", sampling=False)
    assert none.ignored == {"temperature", "top_k"}
    assert not {"temperature", "top_k"} & none.body.keys()
    assert translate(chat(temperature=1), "anthropic", sampling=False).ignored == set()


def test_words_of_one_dialect_become_those_of_the_other() -> None:
    body = sent(stop="x", user="u", service_tier="default", stream=True, stream_options={"include_usage": True})
    assert body["stop_sequences"] == ["x"]
    assert body["metadata"] == {"user_id": "u"}
    assert body["service_tier"] == "standard_only"
    assert body["stream"] is True
    assert "stream_options" not in body
    assert sent(stop=["x", "y"], safety_identifier="s", user="u")["metadata"] == {"user_id": "s"}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.custom"),
        ({"tool_choice": "sometimes", "tools": [tool("a")]}, "tool_choice"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"never_heard_of": 1}, "never_heard_of"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]},
            "messages.content.input_audio",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "messages.content.file.file_id",
        ),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(members: dict[str, Any], name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        translate(chat() | members, "anthropic")
    assert refused.value.parameter == name
    assert name in str(refused.value)


@pytest.mark.parametrize(
    "members",
    [
        {"messages": []},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [5]}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [HELLO, {"role": "assistant", "tool_calls": [call(1, "[1]")]}]},
        {"messages": [HELLO, {"role": "assistant", "tool_calls": [call(1, '{"a":')]}]},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"temperature": "hot"},
        {"stop": [1]},
    ],
)
def test_what_is_no_request_of_the_dialect_is_refused_and_not_guessed_at(members: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        translate(chat() | members, "anthropic")


def scanned_members() -> set[str]:
    return {member["name"] for _, member in load_module("dialect/openai").body.members.items()}


def test_every_member_that_the_scan_knows_is_in_no_list_twice_and_does_what_its_list_says() -> None:
    lists = [(name, outcome) for place, name, outcome in CHAT_TO_MESSAGES.outcomes() if place == ""]
    assert len(dict(lists)) == len(lists)
    assert {name for name, _ in lists} <= scanned_members()
    for name in scanned_members() - {each for each, outcome in lists if outcome is Outcome.CARRIED}:
        body = chat() | {name: {"some": "thing"}}
        if (name, Outcome.IGNORED) in lists:
            request = translate(body, "anthropic")
            assert request.ignored == {name}
            assert "some" not in request.text
        else:
            with pytest.raises(RefusedError):
                translate(body, "anthropic")
