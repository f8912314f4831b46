"""Whole answers and errors of a provider, as clients of the other dialect get them."""

from __future__ import annotations

import json
from typing import Any

import anthropic.types
import openai.types.chat
import pytest

from tests.worlds.translators import answer, answer_of_bytes, error

USED = {
    "input_tokens": 7,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 21,
}


def message(*content: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(content),
        "stop_reason": "end_turn",
        "usage": USED,
        **members,
    }


def completion(text: str | None = None, *, finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": finish}
    details = {"prompt_tokens_details": {"cached_tokens": 100}}
    usage = {"prompt_tokens": 137, "completion_tokens": 21, "total_tokens": 158, **details}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt", "choices": [choice], "usage": usage}


def for_chat(body: Any, **call: Any) -> openai.types.chat.ChatCompletion:
    found = answer(body, "openai", **call)
    assert found is not None
    return openai.types.chat.ChatCompletion.model_validate(found)


def for_messages(body: Any) -> anthropic.types.Message:
    found = answer(body, "anthropic")
    assert found is not None
    return anthropic.types.Message.model_validate(found)


def test_text_calls_and_thinking_of_a_message_reach_a_chat_client() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"n": 12345678901234567890, "e": "é\n"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s=="}
    hidden = {"type": "redacted_thinking", "data": "xx"}
    text = {"type": "text", "text": 'a "b"\n'}
    found = for_chat(message(thought, hidden, text, use, use | {"id": "t2", "input": {}}, stop_reason="tool_use"))
    said = found.choices[0].message
    assert (said.content, found.choices[0].finish_reason) == ('a "b"\n', "tool_calls")
    assert [call.id for call in said.tool_calls or ()] == ["t1", "t2"]
    first, second = (call.function.arguments for call in said.tool_calls or () if call.type == "function")
    assert json.loads(first) == use["input"]
    assert second == "{}"
    extra = said.model_extra or {}
    assert extra["reasoning_content"] == "hm"
    assert extra["thinking_blocks"] == [thought, hidden]


def test_the_usage_of_a_message_counts_the_input_as_chat_does() -> None:
    usage = for_chat(message()).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (137, 21, 158)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 100


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_reasons_of_a_message_become_those_of_chat(reason: str, finish: str) -> None:
    assert for_chat(message(stop_reason=reason)).choices[0].finish_reason == finish


def test_the_tool_that_gave_an_answer_its_form_is_the_answer() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "out", "input": {"a": 1}}
    found = for_chat(message(use, stop_reason="tool_use"), forced='"out"').choices[0]
    assert (found.message.content, found.message.tool_calls, found.finish_reason) == ('{"a": 1}', None, "stop")


def test_text_calls_and_thinking_of_a_completion_reach_a_messages_client() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n": 12345678901234567890}'}},
        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": ""}},
    ]
    found = for_messages(completion("yes", finish="tool_calls", tool_calls=calls, reasoning_content="hm"))
    assert [block.type for block in found.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert found.stop_reason == "tool_use"
    used = [block.input for block in found.content if block.type == "tool_use"]
    assert used == [{"n": 12345678901234567890}, {}]


def test_the_usage_of_a_completion_counts_the_input_as_messages_does() -> None:
    usage = for_messages(completion("x")).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (37, 100, 21)


def test_a_refusal_is_text_and_a_reason() -> None:
    found = for_messages(completion(None, finish="content_filter", refusal="no"))
    assert [block.text for block in found.content if block.type == "text"] == ["no"]
    assert found.stop_reason == "refusal"


def test_calls_before_a_plain_stop_are_calls() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    assert for_messages(completion(None, tool_calls=calls)).stop_reason == "tool_use"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>SECRET</html>",
        "[]",
        "null",
        '{"type":"message"',
        completion("x"),
        message(stop_reason="paused"),
        message({"type": "server_tool_use", "id": "x", "name": "web_search", "input": {}}),
        message({"type": "text"}),
        {**message(), "usage": None},
        "[" * 200 + "]" * 200,
        '{"type":"message","content":[' + "0," * 600_000 + "0]}",
    ],
)
def test_what_is_no_message_is_no_answer(body: Any) -> None:
    assert answer(body, "openai") is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>SECRET</html>",
        message({"type": "text", "text": "x"}),
        {**completion("x"), "choices": []},
        completion("x", finish="insufficient_system_resource"),
        completion(None, tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{"}}]),
        completion(None, tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "[1]"}}]),
        {**completion("x"), "id": 5},
    ],
)
def test_what_is_no_completion_is_no_answer(body: Any) -> None:
    assert answer(body, "anthropic") is None


def test_errors_keep_their_text_and_get_the_clients_envelope() -> None:
    theirs = {"type": "error", "error": {"type": "rate_limit_error", "message": 'slow "down" é'}, "request_id": "r"}
    assert error("openai", 429, json.dumps(theirs)) == {
        "error": {
            "message": 'slow "down" é',
            "type": "invalid_request_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    chats = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    assert error("anthropic", 400, json.dumps(chats)) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "too long"},
        "request_id": "id",
    }
    assert error("anthropic", 429, json.dumps({"error": "slow"}))["error"]["type"] == "rate_limit_error"
    assert error("openai", 400, json.dumps(chats))["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("text", ["", "<html>SECRET</html>", "[]", '{"error":', '{"error":{"message":"\\ud800"}}', "5"])
def test_an_error_that_nobody_can_read_is_told_without_its_text(text: str) -> None:
    for client in ("openai", "anthropic"):
        assert error(client, 500, text)["error"]["message"] == "instead"


@pytest.mark.parametrize("bad", ["line\nbreak", "\x00", "\x1f", "\\x41", "\\u00", "\\u00g0", "\\'"])
def test_an_answer_with_a_string_that_no_reader_takes_is_none(bad: str) -> None:
    for body, client in ((message({"type": "text", "text": "SAID"}), "openai"), (completion("SAID"), "anthropic")):
        text = json.dumps(body)
        assert answer(text, client) is not None
        assert answer(text.replace("SAID", bad), client) is None


def test_an_answer_with_arguments_that_no_reader_takes_is_none() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"line\nbreak"}'}}
    assert answer(completion(tool_calls=[call]), "anthropic") is None


def test_an_answer_that_is_not_utf_8_is_none() -> None:
    text = json.dumps(message({"type": "text", "text": "SAID"})).encode()
    assert answer_of_bytes(text.replace(b"SAID", "é".encode()), "openai")
    for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"):
        assert answer_of_bytes(text.replace(b"SAID", bad), "openai") is None


@pytest.mark.parametrize("written", ["1e999", "-1e999", "-5", "9" * 60, "1e20", "0.5"])
def test_whatever_a_provider_counts_a_client_gets_a_count(written: str) -> None:
    bodies = (
        (
            message(usage={"input_tokens": 1, "output_tokens": 77, "output_tokens_details": {"thinking_tokens": 77}}),
            "openai",
        ),
        (completion("x") | {"usage": {"prompt_tokens": 77, "completion_tokens": 77, "total_tokens": 77}}, "anthropic"),
    )
    for body, client in bodies:
        found = answer(json.dumps(body).replace("77", written), client)
        assert found is not None
        counts = [*found["usage"].values(), *found["usage"].get("completion_tokens_details", {}).values()]
        assert all(type(count) is int and count >= 0 for count in counts if not isinstance(count, dict))


def test_an_error_that_no_reader_takes_is_not_quoted() -> None:
    for bad in ("line\nbreak", "\\x41"):
        assert error("openai", 500, f'{{"error":{{"message":"{bad}"}}}}')["error"]["message"] == "instead"
