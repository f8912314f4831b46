"""Streams through the real Envoy: the usage chunk that nobody asked for, and streams that end badly."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import DataPlane
from tests.worlds.data_plane_provider import Answer, sse

pytestmark = pytest.mark.e2e

PATH = "/v1/chat/completions"
CHAT = {"model": "asked", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
FIRST = 'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a \\"usage\\":null b"}}],"usage":null}\n\n'
LAST = 'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
USAGE = 'data: {"id":"x","choices":[],"usage":{"prompt_tokens":36,"completion_tokens":7,"total_tokens":43}}\n\n'
DONE = "data: [DONE]\n\n"
CLEAN = (FIRST + LAST + DONE).replace(',"usage":null}\n', "}\n")


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC)
        plane.publish()
        plane.wait(lambda: "claude.anthropic" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    started.quota.decide = lambda _: started.allow("main", strip_usage=True, targets=[{"include_usage": True}])
    return started


def settled(plane: DataPlane, name: str) -> int:
    """The bytes that a provider had written when its writes began to stall."""
    provider = plane.provider(name)
    written, since = 0, time.monotonic()
    while not written or time.monotonic() < since + 1:
        if provider.written != written:
            written, since = provider.written, time.monotonic()
        assert time.monotonic() < since + 10, "the provider has written nothing"
        time.sleep(0.02)
    return written


def cut_at(text: str, *places: int) -> Answer:
    edges = [0, *places, len(text)]
    return sse(*(text[start:end] for start, end in pairwise(edges)))


WHOLE = FIRST + LAST + USAGE + DONE
PIECES = {
    "event by event": sse(FIRST, LAST, USAGE, DONE),
    "all at once": sse(WHOLE),
    "usage chunk split": cut_at(WHOLE, len(FIRST + LAST) + 10, len(FIRST + LAST) + 40),
    "delimiter split": cut_at(WHOLE, len(FIRST + LAST + USAGE) - 1),
    "usage glued to what surrounds it": cut_at(WHOLE, len(FIRST) + 5, len(FIRST + LAST + USAGE) + 3),
    "byte by byte": cut_at(WHOLE, *range(1, len(WHOLE))),
    "carriage returns": sse(*(event.replace("\n", "\r\n") for event in (FIRST, LAST, USAGE, DONE))),
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
def test_the_forced_usage_chunk_is_taken_out_and_nothing_else(plane: DataPlane, pieces: Answer) -> None:
    plane.provider("main").answer = lambda _: pieces
    response = plane.client.post(PATH, json=CHAT)
    assert response.text.replace("\r\n", "\n") == CLEAN
    assert plane.provider("main").received[0].json["stream_options"] == {"include_usage": True}
    (call,) = plane.calls()
    assert call["usage"] | {"meter": "whole", "input_tokens": 36, "output_tokens": 7} == call["usage"]


def test_a_client_that_asked_for_the_usage_chunk_gets_every_byte(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", targets=[{"include_usage": True}])
    plane.provider("main").answer = lambda _: PIECES["all at once"]
    sent = CHAT | {"stream_options": {"include_usage": True}}
    assert plane.client.post(PATH, json=sent).text == WHOLE


def test_an_answer_that_is_no_stream_keeps_its_usage(plane: DataPlane) -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
    plane.provider("main").answer = lambda _: Answer(body=body)
    response = plane.client.post(PATH, json=CHAT | {"stream": False})
    assert response.content == body
    assert "stream_options" not in plane.provider("main").received[0].json


def test_events_arrive_as_they_are_sent(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(
        headers={"content-type": "text/event-stream"}, chunks=(FIRST.encode(), 0.5, (LAST + USAGE + DONE).encode())
    )
    before = time.monotonic()
    with plane.client.stream("POST", PATH, json=CHAT) as response:
        chunks = response.iter_bytes()
        assert next(chunks) == CLEAN[: CLEAN.index("\n\n") + 2].encode()
        assert time.monotonic() - before < 0.4
        rest = b"".join(chunks)
    assert rest.decode() == CLEAN[CLEAN.index("\n\n") + 2 :]


def test_an_event_of_megabytes_passes_whole(plane: DataPlane) -> None:
    big = FIRST.replace("a ", "a" * 2_000_000)
    plane.provider("main").answer = lambda _: sse(big, LAST, USAGE, DONE)
    response = plane.client.post(PATH, json=CHAT)
    # The null may or may not be seen, depending on the pieces. The usage is complete either way.
    assert response.text.replace(',"usage":null}\n', "}\n") == (big + LAST + DONE).replace(',"usage":null}\n', "}\n")


def test_a_client_that_reads_slowly_slows_the_provider_down(plane: DataPlane) -> None:
    chunk = FIRST.encode() * 1000
    sent = 400
    plane.provider("main").answer = lambda _: Answer(
        headers={"content-type": "text/event-stream"}, chunks=(chunk,) * sent
    )
    body = json.dumps(CHAT).encode()
    with socket.create_connection(("127.0.0.1", plane.node.data_port)) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        assert 0 < settled(plane, "main") < sent * len(chunk) / 1.2


def test_a_client_that_leaves_mid_stream_leaves_a_line_with_its_reservation(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(
        headers={"content-type": "text/event-stream"}, chunks=(FIRST.encode(), 1.0, DONE.encode())
    )
    with plane.client.stream("POST", PATH, json=CHAT) as response:
        next(response.iter_bytes())
    (call,) = plane.calls()
    assert (call["reservation"], call["status"], call["flags"]) == ("rsv_1", 200, "DC")
    assert call["bytes_sent"] > 0
    text = len('a \\"usage\\":null b')
    assert call["usage"] == {"seen": {"events": 1, "content": 1, "text": text, "bytes": call["bytes_sent"]}}


def test_anthropics_stream_is_metered_and_untouched(plane: DataPlane) -> None:
    start = '{"input_tokens":4,"cache_read_input_tokens":32,"output_tokens":1}'
    events = (
        f'event: message_start\ndata: {{"type":"message_start","message":{{"id":"m","usage":{start}}}}}\n\n',
        'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":7}}\n\n',
        'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    )
    plane.quota.decide = lambda _: plane.allow("claude", strip_usage=True)
    plane.provider("claude").answer = lambda _: sse(*events)
    assert plane.client.post("/v1/messages", json=CHAT | {"max_tokens": 9}).text == "".join(events)
    (call,) = plane.calls()
    told = {"meter": "whole", "input_tokens": 36, "cached_tokens": 32, "output_tokens": 7}
    assert call["usage"] | told == call["usage"]


def test_a_stream_lives_no_longer_than_the_longest_life_of_a_request() -> None:
    with DataPlane(max_stream_seconds=1) as plane:
        plane.provider("main").answer = lambda _: Answer(
            headers={"content-type": "text/event-stream"}, chunks=(FIRST.encode(), 5.0)
        )
        before = time.monotonic()
        with pytest.raises(Exception, match="peer closed"):
            plane.client.post(PATH, json=CHAT)
        assert time.monotonic() - before < 3
        (call,) = plane.calls()
        assert call["reservation"] == "rsv_1"
