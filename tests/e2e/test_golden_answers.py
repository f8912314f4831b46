"""A hundred awkward answers through the real Envoy, whole and byte by byte: each line of the spool has the right cost.

The same answers, cut at every place, without Envoy: `tests/contract/test_golden_answers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.kernel.dialect import Dialect
from services.kernel.price import charge
from services.ledger.domain.call import SpooledCall, parse_line
from tests.worlds.data_plane import DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.golden_answers import DIALECTS, GoldenAnswer, load_answers, pieces_of

ANSWERS = load_answers()
MODELS = {"openai": "main", "anthropic": "claude", "gemini": "gem"}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/asked:generateContent",
}
CHAT = {"model": "asked", "messages": [], "max_tokens": 9}
# Gemini names the model in the path, and nowhere else.
ASKS = {"openai": CHAT, "anthropic": CHAT, "gemini": {"contents": []}}
SMALL_BYTES = 1_500
CHUNK_BYTES = 60_000


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC)
        plane.add_provider("gem", dialect=Dialect.GEMINI)
        plane.publish()
        plane.wait(
            lambda: {"claude.anthropic", "gem.gemini"} <= clusters_of(plane.envoy_admin("/clusters")),
            "Envoy knows the clusters",
        )
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


def answered(answer: GoldenAnswer, size: int) -> Answer:
    kind = "text/event-stream; charset=utf-8" if answer.stream else "application/json"
    return Answer(headers={"content-type": kind}, chunks=tuple(pieces_of(answer.body, size)))


def clusters_of(text: str) -> set[str]:
    return {line.split("::")[0] for line in text.splitlines()}


def ask(plane: DataPlane, answer: GoldenAnswer, size: int, *, strip: bool) -> tuple[str, bytes]:
    """Sends a request that gets this answer. Returns its id, and what the client received."""
    model = MODELS[answer.dialect]
    target = {"path": PATHS[answer.dialect]}
    plane.quota.decide = lambda _: plane.allow(model, strip_usage=strip, targets=[target])
    plane.provider(model).answer = lambda _: answered(answer, size)
    response = plane.client.post(PATHS[answer.dialect], json=ASKS[answer.dialect])
    assert response.status_code == 200
    return response.headers["x-request-id"], response.content


def play(plane: DataPlane, answers: list[GoldenAnswer], size: int, *, strip: bool) -> list[tuple[bytes, SpooledCall]]:
    """Returns what the client received for each answer, and the call's line as the ledger reads it."""
    sent = dict(ask(plane, answer, size, strip=strip) for answer in answers)
    lines: dict[str, dict[str, Any]] = {line["id"]: line for line in plane.calls(len(answers))}
    calls: list[tuple[bytes, SpooledCall]] = []
    for request_id, body in sent.items():
        call = parse_line(lines[request_id])
        assert isinstance(call, SpooledCall)
        calls.append((body, call))
    return calls


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("way", ["in large chunks", "byte by byte"])
def test_an_answer_costs_what_it_costs_however_it_arrives(plane: DataPlane, dialect: str, way: str) -> None:
    answers = [each for each in ANSWERS if each.dialect == dialect]
    if way == "byte by byte":
        answers = [each for each in answers if len(each.body) <= SMALL_BYTES]
    wrong = []

    played = play(plane, answers, 1 if way == "byte by byte" else CHUNK_BYTES, strip=False)

    for answer, (body, call) in zip(answers, played, strict=True):
        cost = None if call.usage is None else charge(call.usage, answer.price)
        expected = answer.seen_from(MODELS[dialect])
        if (body, call.reading.state, call.usage, cost) != (expected, answer.state, answer.usage, answer.nano_usd):
            wrong.append((str(answer), call.reading, cost, answer.usage, answer.nano_usd, body == expected))
    assert wrong == []


@pytest.mark.parametrize("size", [1, 7, CHUNK_BYTES])
def test_a_client_who_did_not_ask_for_usage_is_sent_everything_else(plane: DataPlane, size: int) -> None:
    answers = [each for each in ANSWERS if each.passed != each.body]

    played = play(plane, answers, size, strip=True)

    for answer, (body, call) in zip(answers, played, strict=True):
        assert (str(answer), body) == (str(answer), answer.passed)
        assert (str(answer), call.usage) == (str(answer), answer.usage)
