"""A conversation is the same after a translation there and back, whatever is said in it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.translators import answer, translate, translate_responses

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.dictionaries(WORDS, VALUES, max_size=3)


@st.composite
def rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rounds of a conversation: what is asked, then what is said, the calls of tools, and their results."""
    return [
        {
            "asked": draw(WORDS),
            "said": draw(st.none() | WORDS),
            "inputs": draw(st.lists(INPUTS, min_size=1, max_size=3)),
            "result": draw(WORDS),
        }
        for _ in range(draw(st.integers(1, 3)))
    ]


def as_chat(conversation: list[dict[str, Any]], *, ascii_only: bool) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "be kind"}]
    for number, each in enumerate(conversation):
        calls = [
            {
                "id": f"t{number}.{at}",
                "type": "function",
                "function": {"name": "look", "arguments": json.dumps(given, ensure_ascii=ascii_only)},
            }
            for at, given in enumerate(each["inputs"])
        ]
        messages.append({"role": "user", "content": each["asked"]})
        messages.append({"role": "assistant", "content": each["said"], "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": each["result"]} for call in calls]
        messages.append({"role": "assistant", "content": each["asked"]})
    return messages


def as_messages(conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for number, each in enumerate(conversation):
        uses = [
            {"type": "tool_use", "id": f"t{number}.{at}", "name": "look", "input": given}
            for at, given in enumerate(each["inputs"])
        ]
        said = [{"type": "text", "text": each["said"]}] if each["said"] else []
        result = [{"type": "text", "text": each["result"]}]
        messages.append({"role": "user", "content": [{"type": "text", "text": each["asked"]}]})
        messages.append({"role": "assistant", "content": [*said, *uses]})
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": result} for use in uses]
        messages.append({"role": "user", "content": results})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": each["asked"]}]})
    return messages


def plainly(message: dict[str, Any]) -> Any:
    content = message.get("content")
    said = "".join(each["text"] for each in content) if isinstance(content, list) else content
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    return message["role"], said, calls, message.get("tool_call_id")


@given(rounds(), st.booleans())
def test_a_chat_conversation_comes_back_the_same(conversation: list[dict[str, Any]], ascii_only: bool) -> None:
    messages = as_chat(conversation, ascii_only=ascii_only)
    there = translate({"model": "m", "messages": messages}, "anthropic", ascii_only=ascii_only)
    back = translate(there.body, "openai", ascii_only=ascii_only)
    assert [plainly(each) for each in back.body["messages"]] == [plainly(each) for each in messages]
    assert there.ignored == back.ignored == set()


@given(rounds(), st.booleans())
def test_a_messages_conversation_comes_back_the_same(conversation: list[dict[str, Any]], ascii_only: bool) -> None:
    messages = as_messages(conversation)
    body = {"model": "m", "max_tokens": 9, "messages": messages, "system": [{"type": "text", "text": "be kind"}]}
    there = translate(body, "openai", ascii_only=ascii_only)
    back = translate(there.body, "anthropic", ascii_only=ascii_only)
    assert back.body["messages"] == messages
    assert back.body["system"] == body["system"]
    assert there.ignored == back.ignored == set()


@given(WORDS, st.lists(INPUTS, max_size=3), WORDS)
def test_an_answer_comes_back_the_same(said: str, inputs: list[dict[str, Any]], thought: str) -> None:
    uses = [{"type": "tool_use", "id": f"t{at}", "name": "look", "input": given} for at, given in enumerate(inputs)]
    content = [{"type": "thinking", "thinking": thought, "signature": ""}, {"type": "text", "text": said}, *uses]
    usage = {
        "input_tokens": 7,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "output_tokens": 21,
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use" if inputs else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    there = answer(message, "openai")
    assert answer(there, "anthropic") == message


def as_items(conversation: list[dict[str, Any]], *, ascii_only: bool) -> list[dict[str, Any]]:
    """The same as items of Responses."""
    items: list[dict[str, Any]] = []
    for message in as_chat(conversation, ascii_only=ascii_only)[1:]:
        if message["role"] == "tool":
            called = {"call_id": message["tool_call_id"], "output": message["content"]}
            items.append({"type": "function_call_output", **called})
            continue
        if message["content"]:
            items.append({"type": "message", "role": message["role"], "content": message["content"]})
        calls = message.get("tool_calls", ())
        items += [{"type": "function_call", "call_id": call["id"], **call["function"]} for call in calls]
    return items


@given(rounds(), st.booleans())
def test_a_conversation_of_responses_is_the_same_as_one_of_chat(
    conversation: list[dict[str, Any]], ascii_only: bool
) -> None:
    body = {"model": "m", "input": as_items(conversation, ascii_only=ascii_only), "instructions": "be kind"}
    messages = as_chat(conversation, ascii_only=ascii_only)
    there = translate_responses(body, "openai", ascii_only=ascii_only)
    assert [plainly(each) for each in there.body["messages"]] == [plainly(each) for each in messages]
    # And a provider of messages gets the same from both kinds of clients.
    chat = translate({"model": "m", "messages": messages}, "anthropic", ascii_only=ascii_only)
    assert translate_responses(body, "anthropic", ascii_only=ascii_only).body == chat.body
    assert there.ignored == set()


@given(WORDS, st.lists(INPUTS, max_size=3), WORDS)
def test_an_answer_comes_back_in_the_next_request_of_responses(
    said: str, inputs: list[dict[str, Any]], thought: str
) -> None:
    calls = [
        {"id": f"t{at}", "type": "function", "function": {"name": "look", "arguments": json.dumps(given)}}
        for at, given in enumerate(inputs)
    ]
    message = {"role": "assistant", "content": said, "reasoning_content": thought, "tool_calls": calls}
    choice = {"message": message, "finish_reason": "stop"}
    found = answer({"id": "c-1", "model": "m", "choices": [choice]}, "responses")
    assert found is not None
    back = translate_responses({"model": "m", "input": found["output"]}, "openai")
    assert [plainly(each) for each in back.body["messages"]] == [plainly(message)]


@given(WORDS, st.lists(INPUTS, min_size=1, max_size=3), WORDS, WORDS)
def test_an_answer_of_messages_comes_back_with_its_signed_thoughts(
    said: str, inputs: list[dict[str, Any]], thought: str, signature: str
) -> None:
    uses = [{"type": "tool_use", "id": f"t{at}", "name": "look", "input": given} for at, given in enumerate(inputs)]
    content = [{"type": "thinking", "thinking": thought, "signature": signature}, {"type": "text", "text": said}, *uses]
    message = {"id": "m", "type": "message", "model": "m", "content": content, "stop_reason": "tool_use", "usage": {}}
    found = answer(message, "responses of messages", keeps_thoughts=True)
    assert found is not None
    back = translate_responses({"model": "m", "input": found["output"]}, "anthropic")
    assert back.body["messages"] == [{"role": "assistant", "content": content}]
