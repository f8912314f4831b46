"""What a client sees of a stream that ends badly, with the official SDKs as clients. In the real Envoy:
tests/e2e/test_stream_ends.py."""

from __future__ import annotations

import random
from itertools import product

import pytest

from services.kernel.spool_contract import UsageKey
from tests.worlds.lua_meter import ANSWER, cut, meter, start
from tests.worlds.sdk_streams import read_stream
from tests.worlds.stream_ends import CONTENT, STREAM_ENDS, WHOLE, StreamEnd

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
    events = [f"{event}\n\n" for event in next(iter(WHOLE[dialect].values())).split("\n\n")[:-1]]
    state = start(dialect, choices=1)
    for event in events:
        assert ANSWER.take(state, event[:-5]) == ""
        assert ANSWER.take(state, event[-5:]) == event
    assert ANSWER.finish(state) == ""
