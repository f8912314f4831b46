"""Streams that end badly, through the real Envoy, read by the official SDKs.

The same streams without Envoy, cut at every byte: tests/unit/envoy/test_stream_ends_lua.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from spendgate_envoy.envoy.data.accesslog.v3 import accesslog_pb2

from services.kernel.dialect import Dialect
from services.ledger.domain.call import SpooledCall, parse_line
from services.ledger.domain.outcome import Outcome
from tests.worlds.data_plane import VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.golden_answers import pieces_of
from tests.worlds.sdk_streams import Seen, call_stream
from tests.worlds.stream_ends import CONTENT, STREAM_ENDS, WHOLE, StreamEnd

pytestmark = pytest.mark.e2e

PROVIDERS = {"openai": "main", "anthropic": "claude", "gemini": "gem"}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/asked:streamGenerateContent?alt=sse",
}
DOWNSTREAM_END = accesslog_pb2.AccessLogType.DownstreamEnd
STREAM = {"content-type": "text/event-stream"}
PIECE_BYTES = 97
SINGLE = [each for each in STREAM_ENDS if each.choices == 1]


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC)
        plane.add_provider("gem", dialect=Dialect.GEMINI)
        plane.publish()
        plane.wait(lambda: "gem.gemini" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


def call(plane: DataPlane, dialect: str, answer: Answer) -> tuple[Seen, SpooledCall]:
    """What the SDK made of an answer, and the ledger of its line."""
    plane.clear()
    provider = PROVIDERS[dialect]
    plane.quota.decide = lambda _: plane.allow(provider, strip_usage=True, targets=[{"path": PATHS[dialect]}])
    plane.provider(provider).answer = lambda _: answer
    seen = call_stream(dialect, f"http://127.0.0.1:{plane.node.data_port}", VIRTUAL_KEY)
    line = parse_line(plane.calls()[0])
    assert isinstance(line, SpooledCall)
    return seen, line


@pytest.mark.parametrize("stream", SINGLE, ids=str)
def test_only_a_whole_stream_ends_well(plane: DataPlane, stream: StreamEnd) -> None:
    pieces = tuple(pieces_of(stream.body, PIECE_BYTES)) or (0.0,)
    seen, line = call(plane, stream.dialect, Answer(headers=STREAM, chunks=pieces))

    assert (seen.error is None) == stream.is_whole
    assert line.reading.error == stream.error
    assert line.outcome is (Outcome.COMPLETED if stream.is_whole else Outcome.PROVIDER_CUT)
    assert (CONTENT in "".join(seen.texts)) == (CONTENT.encode() in stream.body)


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_the_router_hears_of_a_broken_stream_and_of_no_other(plane: DataPlane, dialect: str) -> None:
    for stream in (each for each in SINGLE if each.dialect == dialect and "no end" in each.name):
        _, line = call(plane, dialect, Answer(headers=STREAM, chunks=(stream.body,)))
        plane.wait(lambda: line.request_id in broken(plane), "the router hears of it")  # noqa: B023
    whole = next(iter(WHOLE[dialect].values())).encode()
    _, line = call(plane, dialect, Answer(headers=STREAM, chunks=(whole,)))
    plane.wait(lambda: bool(plane.reported(line.request_id)), "the router hears of the attempt")
    assert line.request_id not in broken(plane)


def broken(plane: DataPlane) -> set[str]:
    """The calls that the router was told of, besides their attempts."""
    ends = (entry for entry in plane.router.attempts if entry.common_properties.access_log_type == DOWNSTREAM_END)
    return {entry.request.request_id for entry in ends}


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "content-type: text/event-stream", *lines, "", ""]).encode()


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_stream_that_ends_with_its_connection_is_whole_if_it_says_so(plane: DataPlane, dialect: str) -> None:
    body = next(iter(WHOLE[dialect].values())).encode()
    seen, line = call(plane, dialect, Answer(raw=head("connection: close") + body))
    assert (seen.error, seen.finished, line.outcome) == (None, True, Outcome.COMPLETED)

    seen, line = call(plane, dialect, Answer(raw=head("connection: close") + body[: len(body) // 2]))
    assert (seen.error is not None, line.outcome) == (True, Outcome.PROVIDER_CUT)


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_stream_shorter_than_its_length_is_aborted(plane: DataPlane, dialect: str) -> None:
    body = next(iter(WHOLE[dialect].values())).encode()
    cut = body[: body.index(CONTENT.encode()) + 60]
    seen, line = call(plane, dialect, Answer(raw=head(f"content-length: {len(body)}") + cut))
    assert (seen.error is not None, seen.finished, line.outcome) == (True, False, Outcome.PROVIDER_CUT)


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_stream_of_a_known_length_may_be_followed_by_what_the_gateway_says(plane: DataPlane, dialect: str) -> None:
    body = next(iter(WHOLE[dialect].values())).encode()[:-40]
    seen, line = call(plane, dialect, Answer(raw=head(f"content-length: {len(body)}") + body))
    assert (seen.error is not None, line.outcome) == (True, Outcome.PROVIDER_CUT)


DOCUMENTS: dict[str, Answer] = {
    "a whole answer": Answer(body=b'{"choices":[{"index":0,"message":{"content":"hello"},"finish_reason":"stop"}]}'),
    "an error": Answer(body=b'{"error":{"message":"no"}}'),
    "a page": Answer(body=b"<html>Please log in</html>", headers={"content-type": "text/html"}),
    "nothing": Answer(body=b""),
    "more than is held": Answer(body=b"[" + b"1," * 200_000 + b"1]"),
}


@pytest.mark.parametrize("dialect", PROVIDERS)
@pytest.mark.parametrize("answer", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_in_place_of_a_stream_is_an_error(plane: DataPlane, dialect: str, answer: Answer) -> None:
    seen, line = call(plane, dialect, answer)
    assert (seen.texts, getattr(seen.error, "status_code", getattr(seen.error, "code", None))) == ([], 520)
    assert "although one was asked for" in str(seen.error)
    # Nobody knows what the provider bills for it.
    assert line.outcome is Outcome.UNKNOWN


def test_a_target_that_answers_with_a_document_is_followed_by_the_next(plane: DataPlane) -> None:
    plane.clear()
    plane.add_provider("second")
    plane.publish()
    plane.wait(lambda: "second.openai" in plane.envoy_admin("/clusters"), "Envoy knows the cluster")
    plane.quota.decide = lambda _: plane.allow("main", "second")
    plane.provider("main").answer = lambda _: DOCUMENTS["an error"]
    whole = WHOLE["openai"]["all there is"].encode()
    plane.provider("second").answer = lambda _: Answer(headers=STREAM, chunks=(whole,))

    seen = call_stream("openai", f"http://127.0.0.1:{plane.node.data_port}", VIRTUAL_KEY)

    assert (seen.error, seen.finished) == (None, True)
    assert [attempt["status"] for attempt in plane.calls(2, "attempt")] == [520, 200]


def test_geminis_array_of_json_is_a_stream_too(plane: DataPlane) -> None:
    plane.clear()
    plane.quota.decide = lambda _: plane.allow("gem", targets=[{"path": PATHS["gemini"].partition("?")[0]}])
    document: Any = [{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}]
    plane.provider("gem").answer = lambda _: Answer(body=json.dumps(document).encode())
    answer = plane.client.post(PATHS["gemini"].partition("?")[0], json={"contents": []})
    assert (answer.status_code, answer.json()) == (200, document)
