"""What a client sees of a stream that ends badly, with the official SDKs as clients. In the real Envoy:
tests/e2e/test_stream_ends.py."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest

from services.kernel.spool_contract import UsageKey
from tests.worlds.lua_meter import ANSWER, cut, meter, start
from tests.worlds.sdk_streams import read_stream
from tests.worlds.stream_ends import CONTENT, STREAM_ENDS, WHOLE, StreamEnd, event

LINE_ENDS = ("\n", "\r\n", "\r")
EVERY_CUT_BYTES = 3_000
END_MARKS = (b"[DONE]", b"message_stop")


def passed(stream: StreamEnd, body: bytes, at: list[int]) -> bytes:
    """What the client is sent."""
    return meter(stream.dialect, cut(body.decode("latin-1"), at), stream=True, choices=stream.choices).passed.encode(
        "latin-1"
    )


def cuts_of(body: bytes) -> list[list[int]]:
    if len(body) <= EVERY_CUT_BYTES:
        return [[], *([at] for at in range(len(body))), list(range(len(body)))]
    return [[], sorted(random.Random(1).sample(range(len(body)), 40)), list(range(0, len(body), 4096))]


@pytest.mark.parametrize("stream", [each for each in STREAM_ENDS if each.is_whole], ids=str)
def test_a_stream_that_ended_passes_byte_for_byte_however_it_ended(stream: StreamEnd) -> None:
    for at in cuts_of(stream.body):
        assert passed(stream, stream.body, at) == stream.body
    assert read_stream(stream.dialect, stream.body).error is None


@pytest.mark.parametrize("stream", [each for each in STREAM_ENDS if not each.is_whole], ids=str)
def test_no_sdk_takes_a_stream_that_broke_for_an_answer(stream: StreamEnd) -> None:
    sent = {passed(stream, stream.body, at) for at in cuts_of(stream.body)}
    for each in sent:
        seen = read_stream(stream.dialect, each)
        assert seen.error is not None
        assert not any(mark in each for mark in END_MARKS)
        # What had come is not lost.
        assert (CONTENT in "".join(seen.texts)) == (CONTENT.encode() in stream.body)


@pytest.mark.parametrize("stream", [each for each in STREAM_ENDS if not each.is_whole], ids=str)
def test_the_line_of_a_call_says_how_its_stream_broke(stream: StreamEnd) -> None:
    for client in (0, stream.choices):
        told = meter(stream.dialect, [stream.body.decode()], stream=True, choices=client).told
        if client or stream.choices == 1:
            assert told[UsageKey.ERROR] == stream.error


@pytest.mark.parametrize(("dialect", "end"), list(product(WHOLE, LINE_ENDS)), ids=repr)
def test_a_stream_cut_at_any_byte_is_an_error_unless_all_of_it_had_come(dialect: str, end: str) -> None:
    body = next(iter(WHOLE[dialect].values())).replace("\n", end).encode()
    whole = read_stream(dialect, body).texts
    for size in range(len(body)):
        stream = StreamEnd(dialect, "cut", body[:size], False)
        seen = read_stream(dialect, passed(stream, stream.body, []))
        assert seen.error is not None or (seen.finished and seen.texts[: len(whole)] == whole[: len(seen.texts)])
        if seen.error is None:
            assert "".join(seen.texts) == "".join(whole)


@pytest.mark.parametrize("dialect", WHOLE)
def test_each_event_passes_as_soon_as_it_is_complete_and_no_sooner(dialect: str) -> None:
    events = [f"{each}\n\n" for each in next(iter(WHOLE[dialect].values())).split("\n\n")[:-1]]
    state = start(dialect, choices=1)
    for each in events:
        assert ANSWER.take(state, each[:-5]) == ""
        assert ANSWER.take(state, each[-5:]) == each
    assert ANSWER.finish(state) == ""


def response(kind: str, **more: Any) -> str:
    return event({"type": kind, **more}, kind)


BEGUN = response("response.created", response={"error": None, "tools": [{"parameters": {"error": {"type": "x"}}}]})
SAID = response("response.output_text.delta", delta=CONTENT)


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete"])
def test_a_response_ends_with_its_last_event(last: str) -> None:
    body = BEGUN + SAID + response(last, response={"usage": {"input_tokens": 1, "output_tokens": 2}})
    for at in range(len(body)):
        metered = meter("responses", cut(body, [at]), stream=True, choices=1, dialect="openai")
        assert (metered.passed, metered.told["meter"], UsageKey.ERROR in metered.told) == (body, "whole", False)
    for size in range(len(body)):
        metered = meter("responses", [body[:size]], stream=True, choices=1, dialect="openai")
        assert metered.told[UsageKey.ERROR] == "ended_early"
        assert metered.passed.count('data: {"error"') == 1


def test_a_response_that_failed_says_so_itself_and_nothing_follows() -> None:
    failed = response("response.failed", response={"error": {"code": "server_error", "message": "x"}})
    metered = meter("responses", [BEGUN + SAID + failed + SAID], stream=True, choices=1, dialect="openai")
    assert (metered.passed, metered.told[UsageKey.ERROR]) == (BEGUN + SAID + failed, "server_error")
