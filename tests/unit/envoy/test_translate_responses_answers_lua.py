"""Whole answers of Chat and of Messages, as clients of Responses get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response

from tests.worlds.translators import answer, translate_responses

REPEATED = translate_responses({"model": "m", "input": "hi", "metadata": {"a": "b"}}, "openai").known["repeated"]
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"n": 12345678901234567890}'}}
THOUGHT = {"type": "thinking", "thinking": "hé", "signature": "s=="}
USAGE = {
    "prompt_tokens": 137,
    "completion_tokens": 21,
    "total_tokens": 158,
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 9},
}


def completion(text: str | None = None, *, finish: str = "stop", usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": finish}
    return {"id": "c-1", "object": "chat.completion", "created": 5, "model": "gpt", "choices": [choice], "usage": usage}


def message(*content: dict[str, Any], **members: Any) -> dict[str, Any]:
    usage = {"input_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 30, "output_tokens": 21}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": list(content),
        "stop_reason": "end_turn",
        "usage": usage,
        **members,
    }


def responded(body: Any, client: str = "responses", **call: Any) -> Response:
    found = answer(body, client, repeated=REPEATED, **call)
    assert found is not None
    return Response.model_validate(found)


def test_what_a_model_thought_said_and_called_are_items_in_this_order() -> None:
    found = responded(completion('a "b"\n', finish="tool_calls", tool_calls=[CALL], reasoning_content="hm"))
    thought, said, called = (each.to_dict() for each in found.output)
    assert thought == {"type": "reasoning", "id": "rs_c-1_0", "summary": [{"type": "summary_text", "text": "hm"}]}
    part = {"type": "output_text", "text": 'a "b"\n', "annotations": [], "logprobs": []}
    assert said == {"type": "message", "id": "msg_c-1_1", "status": "completed", "role": "assistant", "content": [part]}
    assert called["call_id"] == "t1"
    assert called["arguments"] == '{"n": 12345678901234567890}'
    assert (found.id, found.model, found.created_at, found.status) == ("resp_c-1", "gpt", 5, "completed")
    assert (found.metadata, found.tool_choice, found.tools, found.error) == ({"a": "b"}, "auto", [], None)


def test_usage_counts_cached_and_reasoning_tokens() -> None:
    usage = responded(completion("x")).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (137, 21, 158)
    assert usage.input_tokens_details.cached_tokens == 100
    assert usage.output_tokens_details.reasoning_tokens == 9
    assert responded(completion("x", usage=None)).usage is None


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_the_end_of_an_answer(finish: str, status: str, reason: str | None) -> None:
    found = responded(completion("x", finish=finish, tool_calls=[CALL]))
    assert found.status == status
    assert (found.incomplete_details and found.incomplete_details.reason) == reason
    said, called = (each.to_dict() for each in found.output)
    assert (said["status"], called["status"]) == ("completed", status)


def test_a_refusal_is_a_part_of_the_message() -> None:
    [said] = responded(completion(None, refusal="no")).output
    assert said.to_dict()["content"] == [{"type": "refusal", "refusal": "no"}]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    [called] = responded(completion(None, tool_calls=[CALL | {"function": {"name": "x", "arguments": " "}}])).output
    assert called.to_dict()["arguments"] == "{}"


def test_an_answer_of_messages_is_an_answer_of_responses() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"n": 12345678901234567890}}
    body = message(THOUGHT, {"type": "text", "text": "x"}, use, stop_reason="tool_use")
    found = responded(body, "responses of messages")
    items: list[Any] = [each.to_dict() for each in found.output]
    thought, said, called = items
    assert thought == {"type": "reasoning", "id": "rs_msg_1_0", "summary": [{"type": "summary_text", "text": "hé"}]}
    assert said["content"][0]["text"] == "x"
    assert json.loads(called["arguments"]) == use["input"]
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.input_tokens_details.cached_tokens) == (137, 100)
    form = message(use | {"name": "out"}, stop_reason="tool_use")
    assert json.loads(responded(form, "responses of messages", forced='"out"').output_text) == use["input"]


def test_signed_thoughts_are_sealed_for_a_client_that_wants_them_and_come_back_as_they_were() -> None:
    hidden = {"type": "redacted_thinking", "data": "x"}
    body = message(THOUGHT, hidden, {"type": "text", "text": "x"})
    found = responded(body, "responses of messages", keeps_thoughts=True)
    back = [each.to_dict() for each in found.output]
    assert back[0]["encrypted_content"]
    request = translate_responses({"model": "m", "input": [*back, {"role": "user", "content": "go"}]}, "anthropic")
    assert request.body["messages"][0]["content"] == [THOUGHT, hidden, {"type": "text", "text": "x"}]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "<html>",
        '{"error": {"message": "x"}}',
        {"id": "x", "model": "y", "choices": []},
        completion("x", finish="lost"),
        completion("x", tool_calls=[{"id": "t"}]),
        {**completion("x"), "id": None},
        message({"type": "text", "text": "x"}),
    ],
)
def test_what_is_no_answer_of_chat_is_none(body: Any) -> None:
    assert answer(body, "responses") is None


@pytest.mark.parametrize("body", ["", completion("x"), message(stop_reason="gone"), message({"type": "invented"})])
def test_what_is_no_answer_of_messages_is_none(body: Any) -> None:
    assert answer(body, "responses of messages") is None
