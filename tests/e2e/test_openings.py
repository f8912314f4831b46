"""A stream that fails before its first content is answered by the next target, in one request, by the real Envoy."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.sdk_streams import call_stream
from tests.worlds.stream_ends import CONTENT, WHOLE, anthropic, event, openai

pytestmark = pytest.mark.e2e

STREAM = {"content-type": "text/event-stream"}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/asked:streamGenerateContent?alt=sse",
}
ERRORS = {
    "openai": event({"error": {"message": "The engine is lost.", "type": "server_error", "code": None}}),
    "anthropic": event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
    "gemini": event({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}),
}
START = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": {"input_tokens": 11}}
BEGUN = {
    "openai": openai(""),
    "anthropic": anthropic("message_start", message=START) + anthropic("ping"),
    "gemini": ": hello\n\n",
}
PAUSE_S = 0.05


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        for dialect in Dialect:
            plane.add_provider(f"{dialect}-a", dialect=dialect)
            plane.add_provider(f"{dialect}-b", dialect=dialect)
        plane.publish()
        plane.wait(lambda: "gemini-b.gemini" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


def answer_with(plane: DataPlane, dialect: str, first: Answer, second: Answer | None = None) -> None:
    """The chain has two targets. The second answers well unless told otherwise."""
    plane.clear()
    path = {"path": PATHS[dialect]}
    plane.quota.decide = lambda _: plane.allow(f"{dialect}-a", f"{dialect}-b", targets=[path, path])
    whole = next(iter(WHOLE[dialect].values())).encode()
    plane.provider(f"{dialect}-a").answer = lambda _: first
    plane.provider(f"{dialect}-b").answer = lambda _: second or Answer(headers=STREAM, chunks=(whole,))


def statuses(plane: DataPlane, count: int) -> list[int]:
    """Of the attempts, in order."""
    return [attempt["status"] for attempt in sorted(plane.calls(count, "attempt"), key=lambda each: each["attempt"])]


def stream(*pieces: str | float, cut: bool = False) -> Answer:
    chunks = tuple(piece if isinstance(piece, float) else piece.encode() for piece in pieces)
    return Answer(headers=STREAM, chunks=chunks, cut=cut)


def failures(dialect: str) -> dict[str, tuple[Answer, int]]:
    """How streams fail, and the status of the attempt."""
    begun, error = BEGUN[dialect], ERRORS[dialect]
    broke = 502 if dialect == "gemini" else 520
    return {
        "the error comes with the head": (stream(error), 502),
        "the error comes later": (stream(PAUSE_S, error), 502),
        "the error comes in the middle of a piece": (stream(begun + error), broke),
        "the error comes after a beginning": (stream(begun, PAUSE_S, error), broke),
        "the beginning comes in pieces": (stream(begun[:4], PAUSE_S, begun[4:], PAUSE_S, error), broke),
        "the error comes in pieces": (stream(PAUSE_S, error[:9], PAUSE_S, error[9:20], PAUSE_S, error[20:]), 502),
        "there is nothing": (stream(0.0), 520),
        "there is nothing, and its length says so": (Answer(headers=STREAM, body=b""), 520),
        "nothing follows the beginning": (stream(begun, PAUSE_S), 520),
        "the connection breaks after the head": (stream(PAUSE_S, cut=True), 0),
        "the connection breaks after the beginning": (stream(begun, PAUSE_S, cut=True), 0),
    }


@pytest.mark.parametrize("dialect", ERRORS)
@pytest.mark.parametrize("how", failures("openai"))
def test_the_next_target_answers_in_the_same_request(plane: DataPlane, dialect: str, how: str) -> None:
    failing, status = failures(dialect)[how]
    answer_with(plane, dialect, failing)

    seen = call_stream(dialect, f"http://127.0.0.1:{plane.node.data_port}", VIRTUAL_KEY)

    assert (seen.error, seen.finished) == (None, True)
    assert CONTENT in "".join(seen.texts)
    assert statuses(plane, 2) == [status, 200]


@pytest.mark.parametrize("dialect", ERRORS)
def test_nothing_is_lost_or_late_of_a_stream_that_does_not_fail(plane: DataPlane, dialect: str) -> None:
    whole = next(iter(WHOLE[dialect].values()))
    events = [f"{each}\n\n" for each in whole.split("\n\n")[:-1]]
    paced = [part for each in events for part in (each, PAUSE_S)]
    for pieces in ([whole], events, paced, [0.2, *events], [*whole]):
        answer_with(plane, dialect, stream(*pieces))
        body = {"model": "asked", "messages": [], "contents": [], "stream": True, "max_tokens": 9}
        body.pop("contents" if dialect != "gemini" else "messages")
        sent = {"contents": []} if dialect == "gemini" else body
        answer = plane.client.post(PATHS[dialect], json=sent)
        assert (answer.status_code, answer.text) == (200, whole)
        assert statuses(plane, 1) == [200]


def test_content_passes_as_soon_as_it_comes(plane: DataPlane) -> None:
    answer_with(plane, "openai", stream(BEGUN["openai"], 0.1, openai("a"), 0.6, openai("b", "stop")))
    start = time.monotonic()
    with plane.client.stream("POST", PATHS["openai"], json={"model": "m", "stream": True, "messages": []}) as answer:
        arrived = [(time.monotonic() - start, chunk) for chunk in answer.iter_bytes()]
    assert next(chunk for _, chunk in arrived) == (BEGUN["openai"] + openai("a")).encode()
    assert arrived[0][0] < 0.5
    assert arrived[-1][0] > 0.6


def test_a_burst_of_megabytes_passes_whole(plane: DataPlane) -> None:
    burst = "".join(openai("y" * 50_000) for _ in range(100)) + openai("", "stop")
    for pieces in ([burst], [openai(""), burst], [0.05, openai("") + burst]):
        answer_with(plane, "openai", stream(*pieces))
        answer = plane.client.post(PATHS["openai"], json={"model": "m", "stream": True, "messages": []})
        assert (answer.status_code, len(answer.content)) == (200, len("".join(p for p in pieces if isinstance(p, str))))


def test_the_last_target_says_its_error_itself(plane: DataPlane) -> None:
    answer_with(plane, "openai", stream(ERRORS["openai"]), stream(BEGUN["openai"], PAUSE_S, ERRORS["openai"]))
    seen = call_stream("openai", f"http://127.0.0.1:{plane.node.data_port}", VIRTUAL_KEY)
    assert "The engine is lost." in str(seen.error)
    assert statuses(plane, 2) == [502, 200]


def test_two_hundred_parallel_streams_fall_back(plane: DataPlane) -> None:
    answer_with(plane, "openai", stream(BEGUN["openai"], PAUSE_S, ERRORS["openai"]))
    whole, served = next(iter(WHOLE["openai"].values())), itertools.count()

    def ask() -> None:
        headers = {"authorization": f"Bearer {VIRTUAL_KEY}"}
        url = f"http://127.0.0.1:{plane.node.data_port}{PATHS['openai']}"
        answer = httpx.post(url, json={"model": "m", "stream": True, "messages": []}, headers=headers, timeout=30)
        if (answer.status_code, answer.text) == (200, whole):
            next(served)

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert next(served) == 200


def test_clients_that_leave_while_a_head_is_held_harm_nobody(plane: DataPlane) -> None:
    answer_with(plane, "openai", stream(BEGUN["openai"], 0.1, openai("a"), 0.1, openai("b", "stop")))
    body = json.dumps({"model": "m", "stream": True, "messages": []}).encode()
    head = f"POST {PATHS['openai']} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {VIRTUAL_KEY}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    for number in range(100):
        with socket.create_connection(("127.0.0.1", plane.node.data_port)) as client:
            client.sendall(head.encode() + body)
            time.sleep(number / 400)
    answer: Any = plane.client.post(PATHS["openai"], json={"model": "m", "stream": True, "messages": []})
    assert answer.status_code == 200
