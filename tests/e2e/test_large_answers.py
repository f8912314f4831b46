"""Several answers of 32 MB at once, whole and in events: the memory of Envoy stays bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.worlds.data_plane import DataPlane
from tests.worlds.data_plane_provider import Answer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

BYTES, PIECE_BYTES, AT_ONCE = 32_000_000, 1_000_000, 6
# Envoy alone has 85 MiB. The answers that are under way at once are 192 MB.
RSS_MAX_KIB = 128 * 1024
CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 11, "completion_tokens": 9, "total_tokens": 20}


def document() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "y" * BYTES}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": USAGE}).encode()


def one_event_each(size: int) -> bytes:
    event = {"choices": [{"index": 0, "delta": {"content": "y" * size}}]}
    last = {"choices": [], "usage": USAGE}
    text = f"data: {json.dumps(event)}\n\n" * (BYTES // size) + f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n"
    return text.encode()


ANSWERS = {
    "documents": ("application/json", document),
    "streams of small events": ("text/event-stream", lambda: one_event_each(4_000)),
    "streams of one event": ("text/event-stream", lambda: one_event_each(BYTES)),
}


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        yield plane


@pytest.mark.parametrize("name", ANSWERS)
def test_envoys_memory_stays_bounded_and_the_figures_are_right(plane: DataPlane, name: str) -> None:
    kind, make = ANSWERS[name]
    body = make()
    pieces = tuple(body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES))
    plane.clear()
    plane.quota.decide = lambda _: plane.allow("main", strip_usage=False)
    plane.provider("main").answer = lambda _: Answer(headers={"content-type": kind}, chunks=pieces)

    def ask(_: int) -> int:
        return len(plane.client.post(PATH, json=CHAT, timeout=60).content)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(ask, range(AT_ONCE))) == [len(body)] * AT_ONCE

    for call in plane.calls(AT_ONCE):
        usage = call["usage"]
        assert (usage["meter"], usage["input_tokens"], usage["output_tokens"]) == ("whole", 11, 9)
    assert peak_kib(plane) < RSS_MAX_KIB


def peak_kib(plane: DataPlane) -> int:
    """The most memory that Envoy has had."""
    status = Path(f"/proc/{plane.envoy_pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])
