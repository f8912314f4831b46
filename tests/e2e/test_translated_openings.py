"""A translated stream whose head is held: split or cut at every byte it reaches its client whole, or not as whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.kernel.dialect import Dialect
from tests.e2e.fuzz.shapes import assert_is_stream
from tests.worlds.data_plane import VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.http_server import Received
from tests.worlds.translators import TARGETS

pytestmark = pytest.mark.e2e

_AT_ONCE = 24
_PAUSE_S = 0.002
_STREAM = {"content-type": "text/event-stream"}
_PATHS = {Dialect.OPENAI: "/v1/chat/completions", Dialect.ANTHROPIC: "/v1/messages"}
_SPARE = "from the spare"


def _event(document: Any, name: str = "") -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


def _message_events(text: str) -> list[str]:
    start = {"id": "m", "model": "x", "usage": {"input_tokens": 3}}
    documents: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    return [_event(document, document["type"]) for document in documents]


def _chunks(text: str) -> list[str]:
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant"}, None),
        ({"content": text}, None),
        ({}, "stop"),
    ]
    documents: list[Any] = [
        {"id": "c", "model": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    return [*map(_event, documents), "data: [DONE]\n\n"]


_EVENTS: dict[Dialect, Callable[[str], list[str]]] = {Dialect.OPENAI: _chunks, Dialect.ANTHROPIC: _message_events}
_ERRORS = {
    Dialect.OPENAI: _event({"error": {"message": "SECRET", "type": "server_error"}}),
    Dialect.ANTHROPIC: _event({"type": "error", "error": {"type": "overloaded_error", "message": "SECRET"}}, "error"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A client's dialect, and its provider's; the next target is one of the client's own."""

    client: Dialect
    provider: Dialect

    def __str__(self) -> str:
        return f"{self.client}-{self.provider}"

    @property
    def events(self) -> list[str]:
        """A whole stream of the provider."""
        return _EVENTS[self.provider]("naïve é😀")

    @property
    def stream(self) -> bytes:
        """Its bytes."""
        return "".join(self.events).encode()


_STEPS = [5, pytest.param(1, marks=pytest.mark.full)]
"""Every fifth byte, and each one where there is time for that."""
PAIRS = [Pair(Dialect.OPENAI, Dialect.ANTHROPIC), Pair(Dialect.ANTHROPIC, Dialect.OPENAI)]


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        for pair in PAIRS:
            plane.add_provider(f"far-{pair.client}", dialect=pair.client, translated_to=pair.provider)
            spare = "".join(_EVENTS[pair.client](_SPARE)).encode()
            near = plane.add_provider(f"near-{pair.client}", dialect=pair.client)
            near.answer = _always(Answer(headers=_STREAM, body=spare))
        plane.publish()
        plane.wait(lambda: "near-anthropic.anthropic" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        plane.quota.decide = lambda check: _chain(plane, check.attributes.request.http.path)
        yield plane


def _always(answer: Answer) -> Callable[[Received], Answer]:
    return lambda _: answer


def _chain(plane: DataPlane, path: str) -> Any:
    (pair,) = (pair for pair in PAIRS if _PATHS[pair.client] == path)
    facts = {name: value for name, value in TARGETS[pair.provider].items() if name != "model"}
    first = {"path": _PATHS[pair.provider], "translation": facts}
    return plane.allow(f"far-{pair.client}", f"near-{pair.client}", translated=True, targets=[first, {}])


def ask(plane: DataPlane, pair: Pair, answers: Sequence[Answer]) -> list[httpx.Response]:
    """Makes one call for each of the provider's answers, which knows them by their number in the prompt."""

    def answer(request: Received) -> Answer:
        found = re.search(rb"answer (\d+)", request.body)
        assert found
        return answers[int(found[1])]

    plane.provider(f"far-{pair.client}").answer = answer

    async def one(client: httpx.AsyncClient, number: int) -> httpx.Response:
        content = [{"role": "user", "content": f"answer {number}"}]
        body = {"model": "asked", "messages": content, "max_tokens": 50, "stream": True}
        return await client.post(_PATHS[pair.client], json=body)

    async def all_of_them() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=_AT_ONCE)
        headers = {"authorization": f"Bearer {VIRTUAL_KEY}"}
        async with httpx.AsyncClient(
            base_url=str(plane.client.base_url), headers=headers, limits=limits, timeout=30, trust_env=False
        ) as client:
            return await asyncio.gather(*(one(client, number) for number in range(len(answers))))

    return asyncio.run(all_of_them())


def _timeless(body: bytes) -> bytes:
    return re.sub(rb'"created":\d+', b"", body)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("step", _STEPS)
def test_split_at_every_byte_a_stream_is_the_same(plane: DataPlane, pair: Pair, step: int) -> None:
    whole = pair.stream
    halves = [(whole[:at], _PAUSE_S, whole[at:]) for at in range(1, len(whole), step)]
    # Each byte a write of its own.
    one_by_one: tuple[bytes | float, ...] = (*(bytes([each]) for each in whole[:200]), whole[200:])
    unsplit, *split = ask(
        plane, pair, [Answer(headers=_STREAM, chunks=each) for each in ((whole,), one_by_one, *halves)]
    )
    assert assert_is_stream(pair.client, unsplit.content, is_whole=True)
    assert {_timeless(each.content) for each in split} == {_timeless(unsplit.content)}
    assert {each.headers["x-spendgate-attempts"] for each in (unsplit, *split)} == {"1"}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("step", _STEPS)
def test_cut_at_every_byte_a_stream_never_looks_whole(plane: DataPlane, pair: Pair, step: int) -> None:
    whole = pair.stream
    # The end mark is whole without its last line end.
    cuts = range(0, len(whole) - 1, step)
    answers = ask(plane, pair, [Answer(headers=_STREAM, body=whole[:at]) for at in cuts])
    attempts = []
    for answer in answers:
        attempts.append(answer.headers["x-spendgate-attempts"])
        if attempts[-1] == "2":
            assert _SPARE in answer.text
        else:
            assert not assert_is_stream(pair.client, answer.content, is_whole=True)
    # Until the first content the next target answers; nothing else does so later.
    content = whole.index("naïve".encode())
    assert {attempt for at, attempt in zip(cuts, attempts, strict=True) if at < content} == {"2"}
    assert attempts == sorted(attempts, reverse=True)
    assert attempts[-1] == "1"


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_an_error_before_any_content_is_answered_by_the_next_target(plane: DataPlane, pair: Pair, pause: float) -> None:
    error, preamble = _ERRORS[pair.provider], pair.events[0]
    streams = [error, ": hello\n\n" + error, preamble + error, preamble + ": hello\n\n" + error]
    for answer in ask(
        plane,
        pair,
        [Answer(headers=_STREAM, chunks=(each[:30].encode(), pause, each[30:].encode())) for each in streams],
    ):
        assert answer.headers["x-spendgate-attempts"] == "2"
        assert _SPARE in answer.text
        assert "SECRET" not in answer.text
