"""The meter in LuaJIT, where streams go wrong midway. In the real Envoy: tests/e2e/test_broken_streams.py."""

from __future__ import annotations

import random

import pytest

from tests.worlds.broken_streams import BROKEN_STREAMS, HUGE_BYTES, BrokenStream
from tests.worlds.lua_meter import cut, meter

EVERY_CUT_BYTES = 1_500
CUTS = 40


def places(stream: BrokenStream) -> list[list[int]]:
    """Where a stream is cut: a small one in two at every place and at all of them; a long one around line ends."""
    body = stream.body
    if len(body) <= EVERY_CUT_BYTES:
        return [*([at] for at in range(len(body))), list(range(len(body)))]
    ends = [at + 1 for at in range(len(body)) if body[at : at + 1] in {b"\r", b"\n"}]
    some = random.Random(len(body)).sample(range(len(body)), CUTS)
    return [ends, sorted(some), *([end] for end in ends if len(body) < HUGE_BYTES)]


@pytest.mark.parametrize("stream", BROKEN_STREAMS, ids=str)
def test_what_is_known_survives_what_goes_wrong_wherever_the_stream_is_cut(stream: BrokenStream) -> None:
    body = stream.body.decode("latin-1")
    for each in places(stream):
        metered = meter(stream.dialect, cut(body, each), stream=True)
        told = metered.told
        assert metered.passed == body
        assert (told["meter"], told.get("input_tokens"), told.get("output_tokens"), told.get("error")) == (
            stream.state,
            *stream.tokens,
            stream.error,
        ), each
