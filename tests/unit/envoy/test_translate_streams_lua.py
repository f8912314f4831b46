"""Streams of a provider, as clients of the other dialect get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.translators import events, stream

USED = {"input_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 30, "output_tokens": 1}


def sse(*data: Any) -> bytes:
    out = ""
    for each in data:
        if isinstance(each, dict) and "type" in each:
            out += f"event: {each['type']}\n"
        out += f"data: {each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}\n\n"
    return out.encode()


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def tool_block(index: int, name: str, *parts: str) -> list[dict[str, Any]]:
    begun = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}
    return block(index, begun, *({"type": "input_json_delta", "partial_json": part} for part in parts))


def message(*blocks: list[dict[str, Any]], reason: str = "end_turn") -> list[dict[str, Any]]:
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": USED}
    return [
        {"type": "message_start", "message": start},
        {"type": "ping"},
        *(event for each in blocks for event in each),
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 21}},
        {"type": "message_stop"},
    ]


TEXT = block(0, {"type": "text", "text": ""}, *({"type": "text_delta", "text": part} for part in ('a "', '"é\n', "😀")))
THOUGHT = block(
    1,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "h"},
    {"type": "thinking_delta", "thinking": "m"},
    {"type": "signature_delta", "signature": "s=="},
)
FULL = message(
    TEXT,
    THOUGHT,
    block(2, {"type": "redacted_thinking", "data": "xx"}),
    tool_block(3, "look", "", '{"n": 1', '2345678901234567890, "q": "\\"é"}'),
    tool_block(4, "look"),
    reason="tool_use",
)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c-1", "object": "chat.completion.chunk", "model": "gpt", "choices": choices, **more}


def part(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    called = {"name": "look"} if more else {}
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments, **called}, **more}]}


USAGE = {"prompt_tokens": 137, "completion_tokens": 21, "prompt_tokens_details": {"cached_tokens": 100}}
CHUNKS: list[Any] = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "h"}),
    chunk({"reasoning_content": "m"}),
    chunk({"content": 'a "'}),
    chunk({"content": '"é\n😀'}),
    chunk(part(0, "", id="t1")),
    chunk(part(0, '{"n": 1')),
    chunk(part(0, '2345678901234567890, "q": "\\"é"}')),
    chunk(part(1, "{}", id="t2")),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
    "[DONE]",
]


def test_a_stream_of_a_message_reaches_a_chat_client() -> None:
    out = stream([sse(*FULL)], "openai")
    chunks = [each for each in events(out) if each != "[DONE]"]
    assert out.endswith(b"data: [DONE]\n\n")
    assert {each["id"] for each in chunks} == {"msg_1"}
    said = [each["choices"][0]["delta"] for each in chunks]
    assert said[0] == {"role": "assistant", "content": ""}
    assert "".join(each.get("content") or "" for each in said) == 'a ""é\n😀'
    assert "".join(each.get("reasoning_content") or "" for each in said) == "hm"
    kept = [one for each in said for one in each.get("thinking_blocks") or ()]
    assert kept == [
        {"type": "thinking", "thinking": "hm", "signature": "s=="},
        {"type": "redacted_thinking", "data": "xx"},
    ]
    arguments = {0: "", 1: ""}
    for call in (call for each in said for call in each.get("tool_calls") or ()):
        arguments[call["index"]] += call["function"]["arguments"]
    assert arguments[0] == '{"n": 12345678901234567890, "q": "\\"é"}'
    assert arguments[1] == "{}"
    assert [each["choices"][0]["finish_reason"] for each in chunks][-1] == "tool_calls"
    assert not any("usage" in each for each in chunks)


def test_a_chat_client_that_asks_for_the_usage_gets_it_last() -> None:
    *_, last, done = events(stream([sse(*FULL)], "openai", include_usage=True))
    assert done == "[DONE]"
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (137, 21)


def test_the_tool_that_gives_an_answer_its_form_streams_as_its_text() -> None:
    raw = sse(*message(tool_block(0, "out", '{"a"', ": 1}"), reason="tool_use"))
    out = stream([raw], "openai", forced='"out"')
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in events(out)[:-1]) == '{"a": 1}'
    assert events(out)[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_of_chunks_reaches_a_messages_client() -> None:
    out = stream([sse(*CHUNKS)], "anthropic")
    found = events(out)
    assert [each["type"] for each in found if each["type"] != "content_block_delta"] == [
        "message_start",
        *["content_block_start", "content_block_stop"] * 4,
        "message_delta",
        "message_stop",
    ]
    begun = [each["content_block"]["type"] for each in found if each["type"] == "content_block_start"]
    assert begun == ["thinking", "text", "tool_use", "tool_use"]
    parts = [each["delta"] for each in found if each["type"] == "content_block_delta"]
    assert "".join(each.get("text", "") for each in parts) == 'a ""é\n😀'
    assert "".join(each.get("thinking", "") for each in parts) == "hm"
    pieces = [each for each in found if each.get("delta", {}).get("type") == "input_json_delta"]
    assert "".join(each["delta"]["partial_json"] for each in pieces if each["index"] == 2) == (
        '{"n": 12345678901234567890, "q": "\\"é"}'
    )
    ended = found[-2]
    assert ended["delta"]["stop_reason"] == "tool_use"
    assert (ended["usage"]["input_tokens"], ended["usage"]["cache_read_input_tokens"]) == (37, 100)


def test_calls_that_all_have_one_number_are_told_apart_by_their_ids() -> None:
    def call(arguments: str, **more: Any) -> dict[str, Any]:
        name = {"name": "look"} if more else {}
        return chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments, **name}, **more}]})

    chunks = [call('{"a":', id="t1"), call("1}"), call('{"b":', id="t2"), call("2}")]
    found = events(stream([sse(*chunks, chunk({}, "tool_calls"), "[DONE]")], "anthropic"))
    said = {each["index"]: "" for each in found if each["type"] == "content_block_start"}
    for each in found:
        if each["type"] == "content_block_delta":
            said[each["index"]] += each["delta"]["partial_json"]
    assert list(said.values()) == ['{"a":1}', '{"b":2}']


def test_calls_without_a_number_are_counted() -> None:
    calls = [
        chunk({"tool_calls": [{"id": f"t{n}", "function": {"name": "look", "arguments": "{}"}}]}) for n in (1, 2, 3)
    ]
    found = events(stream([sse(*calls, chunk({}, "stop"), "[DONE]")], "anthropic"))
    assert [each["content_block"]["id"] for each in found if each["type"] == "content_block_start"] == [
        "t1",
        "t2",
        "t3",
    ]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_comment_or_ping_shows_the_client_that_the_provider_works() -> None:
    assert b": ping\n\n" in stream([sse(*message(TEXT))], "openai")
    raw = sse(chunk({"content": "x"})) + b": OPENROUTER PROCESSING\n\n"
    assert events(stream([raw], "anthropic", ends=False))[-1] == {"type": "ping"}


RAWS = {"openai": sse(*FULL), "anthropic": sse(*CHUNKS)}


@pytest.mark.parametrize("client", RAWS)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_stream_that_is_cut_anywhere_into_two_pieces_gives_the_same(client: str, ending: bytes) -> None:
    raw = RAWS[client].replace(b"\n", ending)
    whole = stream([raw], client)
    for at in range(len(raw)):
        assert stream([raw[:at], raw[at:]], client) == whole
    assert stream([raw[at : at + 1] for at in range(len(raw))], client) == whole


def is_clean(out: bytes, client: str) -> bool:
    return b"[DONE]" in out if client == "openai" else b"message_stop" in out


@pytest.mark.parametrize("client", RAWS)
def test_no_stream_that_ends_early_ends_cleanly(client: str) -> None:
    raw = RAWS[client]
    end = raw.rindex(b"data: ") + len(b"data: ")
    for at in range(end):
        out = stream([raw[:at]], client)
        assert not is_clean(out, client)
        assert "error" in events(out)[-1]
        assert events(out)[-1]["error"]["message"] == "The provider's stream ended before its answer did."


@pytest.mark.parametrize("client", RAWS)
@settings(max_examples=200)
@given(data=st.data())
def test_a_stream_with_changed_bytes_fails_closed(client: str, data: st.DataObject) -> None:
    raw = bytearray(RAWS[client])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    out = stream([bytes(raw)], client)
    foreign = (b"content_block", b"message_start") if client == "openai" else (b"choices", b"chat.completion")
    assert not any(word in out for word in foreign)
    if not is_clean(out, client):
        assert out.count(b'"error":') >= 1


@pytest.mark.parametrize(
    "raw",
    [
        sse(*message(TEXT)[2:]),
        sse(*message(TEXT)[:1], *message(TEXT)),
        sse(*message(block(0, {"type": "text", "text": ""})[:1])),
        sse(*message(reason="gone")),
        sse(*message(block(0, {"type": "server_tool_use", "id": "x", "name": "y", "input": {}}))),
        sse("<html>"),
        sse({"type": "message_start"}),
        sse('{"type":"ping",\tx'),
        b"data: {}\n\n",
        b'data: {"type":\n\ndata: "ping"}\n\n',
        b"data: " + b"x" * (9 * 1024 * 1024),
    ],
)
def test_events_that_are_not_of_messages_end_in_one_error(raw: bytes) -> None:
    out = stream([raw, sse(*message(TEXT))], "openai")
    assert not is_clean(out, "openai")
    assert out.count(b'"error":') == 1
    assert events(out)[-1]["error"]["code"] == "upstream_unavailable"


@pytest.mark.parametrize(
    "raw",
    [
        sse(chunk({"content": "x"}), "[DONE]"),
        sse(chunk({"content": "x"}, "lost"), "[DONE]"),
        sse(chunk(part(0, "{", id="a")), chunk(part(1, "{", id="b")), chunk(part(0, "}"))),
        sse(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})),
        sse(chunk({"content": 5})),
        sse("[]"),
        sse('{"id":"x"}'),
    ],
)
def test_events_that_are_not_of_chat_end_in_one_error(raw: bytes) -> None:
    out = stream([raw, sse(*CHUNKS)], "anthropic")
    assert not is_clean(out, "anthropic")
    assert events(out)[-1]["error"]["message"] == "The gateway cannot read the provider's stream."
    assert out.count(b"event: error") == 1


def test_an_error_within_a_stream_is_an_error_of_the_clients_dialect() -> None:
    theirs = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    out = stream([sse(*message(TEXT)[:4], theirs, *message(TEXT)[4:])], "openai")
    assert events(out)[-1] == {
        "error": {"message": "busy", "type": "server_error", "param": None, "code": "overloaded"}
    }
    chats = sse(chunk({"content": "x"}), {"type": "error", "error": {"message": "busy", "type": "server_error"}})
    out = stream([chats], "anthropic")
    assert events(out)[-1]["error"] == {"type": "api_error", "message": "busy"}
    assert not is_clean(out, "anthropic")
