"""Streams into which something goes wrong midway, through the real Envoy, in pieces that cut lines and letters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.kernel.dialect import Dialect
from services.ledger.domain.call import SpooledCall, parse_line
from tests.worlds.broken_streams import BROKEN_STREAMS, EARLY, BrokenStream
from tests.worlds.data_plane import DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.golden_answers import pieces_of

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [], "max_tokens": 9, "stream": True}
# The provider, its path, and a request.
ASKS = {
    "openai": ("main", "/v1/chat/completions", CHAT | {"stream_options": {"include_usage": True}}),
    "anthropic": ("claude", "/v1/messages", CHAT),
    "gemini": ("gem", "/v1beta/models/asked:streamGenerateContent?alt=sse", {"contents": []}),
}
PIECE_BYTES = 37
SMALL_BYTES = 30_000
LARGE_PIECE_BYTES = 10_007


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC)
        plane.add_provider("gem", dialect=Dialect.GEMINI)
        plane.publish()
        plane.wait(lambda: "gem.gemini" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.mark.parametrize("stream", BROKEN_STREAMS, ids=str)
def test_figures_survive_and_the_client_is_sent_every_whole_event(plane: DataPlane, stream: BrokenStream) -> None:
    provider, path, body = ASKS[stream.dialect]
    plane.clear()
    plane.quota.decide = lambda _: plane.allow(provider, targets=[{"path": path}])
    size = PIECE_BYTES if len(stream.body) < SMALL_BYTES else LARGE_PIECE_BYTES
    pieces = tuple(pieces_of(stream.body, size))
    plane.provider(provider).answer = lambda _: Answer(headers={"content-type": "text/event-stream"}, chunks=pieces)

    response = plane.client.post(path, json=body)

    if stream.error == EARLY:
        # Only a part of a long event passes, and nothing of another.
        passed = response.content[: response.content.rindex(b"data: ")].removesuffix(b"event: error\n")
        assert stream.body.startswith(passed.rstrip(b"\n"))
    else:
        assert response.content.startswith(stream.body)
        assert stream.error or response.content == stream.body
    call = parse_line(plane.calls()[0])
    assert isinstance(call, SpooledCall)
    reading = call.reading
    assert (reading.state, reading.input_tokens, reading.output_tokens) == (stream.state, *stream.tokens)
    assert (reading.error or None) == stream.error
