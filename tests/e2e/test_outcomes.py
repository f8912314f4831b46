"""Each way in which a call can end, in the real Envoy: what its line says, and what the ledger makes of it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest

from services.ledger.domain.call import SpooledCall, parse_line
from services.ledger.domain.outcome import Outcome
from tests.worlds.data_plane import VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.ports import free_port

pytestmark = pytest.mark.e2e

MAX_STREAM_S = 2
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
STREAM = {"content-type": "text/event-stream"}
IMPATIENT = {"headers": {"x-envoy-upstream-rq-per-try-timeout-ms": "150"}}
HANGS = Answer(delay_s=MAX_STREAM_S + 2.0)
STALLS = Answer(headers=STREAM, chunks=(EVENT, MAX_STREAM_S + 2.0, EVENT))
HALF_A_DOCUMENT = Answer(chunks=(b'{"choices":', MAX_STREAM_S + 2.0, b"[]}"))


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane(max_stream_seconds=MAX_STREAM_S) as plane:
        plane.add_dead_provider("dead", free_port())
        plane.publish()
        plane.wait(lambda: "dead.openai" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


def send(plane: DataPlane, patience_s: float, *, stream: bool = True) -> None:
    """Sends a call and breaks the connection when nothing came for so long, or when the answer has ended."""
    body = json.dumps({"model": "asked", "messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {VIRTUAL_KEY}\r\n"
    head += f"connection: close\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", plane.node.data_port), timeout=patience_s) as client:
        client.sendall(head.encode() + body)
        with suppress(OSError):
            while client.recv(65_536):
                pass
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ended(plane: DataPlane) -> tuple[Outcome, bool]:
    (line,) = plane.calls()
    parsed = parse_line(line)
    assert isinstance(parsed, SpooledCall)
    return parsed.outcome, parsed.began


@pytest.mark.parametrize(
    ("answer", "patience_s", "how", "began"),
    [
        (Answer(), 5, Outcome.COMPLETED, True),
        (Answer(headers=STREAM, chunks=(EVENT, LAST)), 5, Outcome.COMPLETED, True),
        (Answer(headers=STREAM, chunks=(EVENT, EVENT)), 5, Outcome.PROVIDER_CUT, True),
        (Answer(status=500), 5, Outcome.REFUSED, True),
        (Answer(status=504), 5, Outcome.TIMEOUT, False),
        (Answer(status=408), 5, Outcome.TIMEOUT, False),
        (Answer(status=520), 5, Outcome.UNKNOWN, False),
        (Answer(status=400, body=b'{"error":{"code":"content_filter","type":null}}'), 5, Outcome.PROVIDER_CUT, False),
        (HANGS, 0.3, Outcome.CLIENT_CANCELLED, False),
        (STALLS, 0.3, Outcome.CLIENT_CANCELLED, True),
        (HALF_A_DOCUMENT, 0.3, Outcome.CLIENT_CANCELLED, True),
        (Answer(headers=STREAM, chunks=(EVENT, 0.1), cut=True), 5, Outcome.PROVIDER_CUT, True),
        (HANGS, 5, Outcome.TIMEOUT, False),
        (STALLS, 5, Outcome.TIMEOUT, True),
    ],
)
def test_envoy_tells_how_an_exchange_ended(
    plane: DataPlane, answer: Answer, patience_s: float, how: Outcome, *, began: bool
) -> None:
    plane.provider("main").answer = lambda _: answer
    send(plane, patience_s, stream=answer.headers == STREAM)

    assert ended(plane) == (how, began)


def test_a_provider_that_hangs_up_before_it_answers_cut_the_call(plane: DataPlane) -> None:
    plane.provider("main").hang_up = True
    send(plane, 5)

    assert ended(plane) == (Outcome.PROVIDER_CUT, False)


@pytest.mark.parametrize(
    ("chain", "how"), [(["main"], Outcome.TIMEOUT), (["dead"], Outcome.NEVER_SENT), (["main", "main"], Outcome.TIMEOUT)]
)
def test_an_attempt_that_has_no_head_in_time_is_told_from_one_that_was_never_sent(
    plane: DataPlane, chain: list[str], how: Outcome
) -> None:
    plane.quota.decide = lambda _: plane.allow(*chain, **IMPATIENT)
    plane.provider("main").answer = lambda _: HANGS
    send(plane, 5)

    assert ended(plane) == (how, False)


def test_what_a_script_of_ours_answers_was_never_sent() -> None:
    with DataPlane(broken_script="target") as plane:
        send(plane, 5)

        assert ended(plane) == (Outcome.NEVER_SENT, False)
        assert plane.provider("main").received == []
