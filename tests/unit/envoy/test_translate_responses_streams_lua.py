"""Streams of Chat and of Messages, as clients of Responses get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.worlds.translators import answer, events, stream

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REPEATED = ',"parallel_tool_calls":true,"tool_choice":"auto","tools":[]'
USAGE = {"prompt_tokens": 137, "completion_tokens": 21, "prompt_tokens_details": {"cached_tokens": 100}}
OF_CHAT, OF_MESSAGES = "responses", "responses of messages"


def sse(*data: Any) -> bytes:
    lines = (each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in data)
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 5, "model": "gpt", "choices": choices, **more}


def part(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    called = {"name": "look"} if more else {}
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments, **called}, **more}]})


CHUNKS: list[Any] = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "h"}),
    chunk({"reasoning_content": "é"}),
    chunk({"content": 'a "'}),
    chunk({"content": '"é\n😀'}),
    part(0, "", id="t1"),
    part(0, '{"n": 1'),
    part(0, '2345678901234567890, "q": "\\"é"}'),
    part(1, "", id="t2"),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
    "[DONE]",
]
WHOLE = {
    "id": "c-1",
    "created": 5,
    "model": "gpt",
    "choices": [
        {
            "message": {
                "content": 'a ""é\n😀',
                "reasoning_content": "hé",
                "tool_calls": [
                    {
                        "id": "t1",
                        "function": {"name": "look", "arguments": '{"n": 12345678901234567890, "q": "\\"é"}'},
                    },
                    {"id": "t2", "function": {"name": "look", "arguments": ""}},
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": USAGE,
}
USED: dict[str, Any] = {"input_tokens": 7, "cache_read_input_tokens": 100, "output_tokens": 1}


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


START: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [],
    "usage": USED,
}
MESSAGE: list[Any] = [
    {"type": "message_start", "message": START},
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "é"},
        {"type": "signature_delta", "signature": "s=="},
    ),
    *block(1, {"type": "redacted_thinking", "data": "xx"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}, {"type": "text_delta", "text": "b"}),
    *block(
        3,
        {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"n": 1'},
        {"type": "input_json_delta", "partial_json": "2}"},
    ),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 21}},
    {"type": "message_stop"},
]
RAWS = {OF_CHAT: sse(*CHUNKS), OF_MESSAGES: sse(*MESSAGE)}


def streamed(raw: bytes, client: str = OF_CHAT, **call: Any) -> list[dict[str, Any]]:
    return events(stream([raw], client, repeated=REPEATED, **call))


def test_a_stream_has_the_events_of_each_item_and_part() -> None:
    message = [
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 2,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    thought = [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        *["response.reasoning_summary_text.delta"] * 2,
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]
    deltas = "response.function_call_arguments.delta"
    ended = ["response.function_call_arguments.done", "response.output_item.done"]
    assert [each["type"] for each in streamed(RAWS[OF_CHAT])] == [
        "response.created",
        "response.in_progress",
        *thought,
        *message,
        *["response.output_item.added", deltas, deltas, *ended],
        *["response.output_item.added", deltas, *ended],
        "response.completed",
    ]


@pytest.mark.parametrize("client", RAWS)
def test_the_sdk_knows_every_event_and_they_are_numbered(client: str) -> None:
    found = streamed(RAWS[client], client, keeps_thoughts=True)
    for number, event in enumerate(found):
        EVENT.validate_python(event)
        assert event["sequence_number"] == number
    raw = stream([RAWS[client]], client).decode()
    for text in raw.replace(": ping\n\n", "").split("\n\n")[:-1]:
        name, data = text.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


def put_together(found: list[dict[str, Any]]) -> dict[tuple[int, str], str]:
    """The texts that the deltas make, by item and kind."""
    made: dict[tuple[int, str], str] = {}
    for event in found:
        if event["type"].endswith(".delta"):
            key = (event["output_index"], event["type"])
            made[key] = made.get(key, "") + event["delta"]
    return made


def test_the_events_say_the_same_as_the_whole_answer() -> None:
    found = streamed(RAWS[OF_CHAT])
    whole = answer(WHOLE, OF_CHAT, repeated=REPEATED)
    assert whole is not None
    assert found[-1]["response"] == whole
    assert [event["item"] for event in found if event["type"] == "response.output_item.done"] == whole["output"]
    assert put_together(found) == {
        (0, "response.reasoning_summary_text.delta"): "hé",
        (1, "response.output_text.delta"): 'a ""é\n😀',
        (2, "response.function_call_arguments.delta"): whole["output"][2]["arguments"],
        (3, "response.function_call_arguments.delta"): "{}",
    }
    for event in found[:2]:
        assert event["response"] | {"status": "completed"} == whole | {"output": [], "usage": None}


def test_a_stream_of_messages_says_the_same_as_the_whole_answer() -> None:
    content = [
        {"type": "thinking", "thinking": "hé", "signature": "s=="},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "text", "text": "ab"},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"n": 12}},
    ]
    message = {**START, "content": content, "stop_reason": "tool_use", "usage": {**USED, "output_tokens": 21}}
    for keeps in (True, False):
        whole: Any = answer(message, OF_MESSAGES, repeated=REPEATED, keeps_thoughts=keeps)
        last = streamed(RAWS[OF_MESSAGES], OF_MESSAGES, keeps_thoughts=keeps)[-1]
        arguments = [each["output"][-1].pop("arguments") for each in (last["response"], whole)]
        assert [json.loads(each) for each in arguments] == [{"n": 12}] * 2
        assert last["response"] == whole
        assert ("encrypted_content" in whole["output"][0]) == keeps


def test_a_refusal_follows_in_a_part_of_its_own() -> None:
    found = streamed(sse(chunk({"content": "a"}), chunk({"refusal": "b"}), chunk({"refusal": "c"}, "stop"), "[DONE]"))
    for event in found:
        EVENT.validate_python(event)
    [item] = found[-1]["response"]["output"]
    assert [part.get("refusal") or part["text"] for part in item["content"]] == ["a", "bc"]
    assert [each["content_index"] for each in found if each["type"] == "response.content_part.added"] == [0, 1]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_is_cut_off_is_incomplete(finish: str, reason: str) -> None:
    *_, done, last = streamed(sse(chunk({"content": "a"}), chunk({}, finish), "[DONE]"))
    assert (done["item"]["status"], last["type"]) == ("incomplete", "response.incomplete")
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["usage"] is None


def test_calls_are_told_apart_and_parts_of_two_do_not_come_mixed() -> None:
    def call(arguments: str, **more: Any) -> dict[str, Any]:
        return part(0, arguments, **more)

    found = streamed(
        sse(call('{"a":', id="t1"), call("1}"), call('{"b":2}', id="t2"), chunk({}, "tool_calls"), "[DONE]")
    )
    assert [each["arguments"] for each in found[-1]["response"]["output"]] == ['{"a":1}', '{"b":2}']
    mixed = streamed(sse(part(0, "{", id="a"), part(1, "{", id="b"), part(0, "}")))
    assert mixed[-1]["type"] == "error"


def test_a_chunk_without_a_choice_does_not_begin_the_answer() -> None:
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    assert streamed(sse(first, *CHUNKS)) == streamed(RAWS[OF_CHAT])


def test_a_comment_or_ping_shows_the_client_that_the_provider_works() -> None:
    assert b": ping\n\n" in stream([RAWS[OF_MESSAGES]], OF_MESSAGES)
    assert stream([b": OPENROUTER PROCESSING\n\n"], OF_CHAT, ends=False) == b": ping\n\n"


@pytest.mark.parametrize("client", RAWS)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_stream_that_is_cut_anywhere_into_two_pieces_gives_the_same(client: str, ending: bytes) -> None:
    raw = RAWS[client].replace(b"\n", ending)
    whole = stream([raw], client)
    for at in range(len(raw)):
        assert stream([raw[:at], raw[at:]], client) == whole
    assert stream([raw[at : at + 1] for at in range(len(raw))], client) == whole


CLEAN = (b"response.completed", b"response.incomplete")


def is_clean(out: bytes) -> bool:
    return any(end in out for end in CLEAN)


@pytest.mark.parametrize("client", RAWS)
def test_no_stream_that_ends_early_ends_cleanly(client: str) -> None:
    raw = RAWS[client]
    end = raw.rindex(b"data: ") + len(b"data: ")
    for at in range(end):
        out = stream([raw[:at]], client, repeated=REPEATED)
        assert not is_clean(out)
        last = events(out)[-1]
        EVENT.validate_python(last)
        # The event that this kind of clients waits for, and the member at which OpenAI's SDK raises.
        assert (last["type"], last["message"]) == ("error", "The provider's stream ended before its answer did.")
        assert last["error"]["message"] == last["message"]
        if b"response.created" in out:
            failed = events(out)[-2]
            EVENT.validate_python(failed)
            assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
            assert failed["response"]["error"]["message"] == last["message"]


@pytest.mark.parametrize("client", RAWS)
@settings(max_examples=200)
@given(data=st.data())
def test_a_stream_with_changed_bytes_fails_closed(client: str, data: st.DataObject) -> None:
    raw = bytearray(RAWS[client])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    out = stream([bytes(raw)], client)
    foreign = (b"content_block", b"message_start", b"choices", b"chat.completion", b"tool_use", b"finish_reason")
    assert not any(word in out for word in foreign)
    if not is_clean(out):
        assert out.count(b"event: error\n") == 1


@pytest.mark.parametrize(
    "raw",
    [
        sse(chunk({"content": "x"}), "[DONE]"),
        sse(chunk({"content": "x"}, "lost"), "[DONE]"),
        sse(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})),
        sse(chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"arguments": "{}"}}]})),
        sse(chunk({"content": 5})),
        sse("[]"),
        sse("[DONE]"),
        sse('{"id":"x"}'),
        sse({"choices": [{"delta": {"content": "x"}}]}),
    ],
)
def test_events_that_are_not_of_chat_end_in_one_error(raw: bytes) -> None:
    out = stream([raw, RAWS[OF_CHAT]], OF_CHAT)
    assert not is_clean(out)
    assert events(out)[-1]["message"] == "The gateway cannot read the provider's stream."
    assert out.count(b"event: error\n") == 1


def test_an_error_within_a_stream_is_one_for_the_client() -> None:
    chats = sse(chunk({"content": "x"}), {"error": {"message": "busy", "code": "overloaded"}}, *CHUNKS)
    theirs = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    for raw, client in ((chats, OF_CHAT), (sse(*MESSAGE[:4], theirs, *MESSAGE[4:]), OF_MESSAGES)):
        *_, failed, last = streamed(raw, client)
        assert (failed["type"], failed["response"]["error"]) == (
            "response.failed",
            {"code": "server_error", "message": "busy"},
        )
        assert (last["type"], last["code"], last["message"]) == ("error", "overloaded", "busy")
