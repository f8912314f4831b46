"""The opening of a stream in LuaJIT: whether another target may still answer. In Envoy: tests/e2e/test_openings.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worlds.lua_meter import cut
from tests.worlds.lua_scripts import load_module
from tests.worlds.stream_ends import CONTENT, WHOLE

OPENING = load_module("opening")
PASSES, REFUSED, BROKE = 200, 502, 520


def feed(dialect: str, pieces: list[str]) -> tuple[str, int | None]:
    """What passed until a verdict came, and the verdict."""
    state, passed = OPENING.new(dialect), ""
    for piece in [*(each for each in pieces if each), ""]:
        sent, status = OPENING.feed(state, piece)
        passed += sent
        if status:
            return passed, int(status)
    return passed, None


ERRORS = {
    "openai": 'data: {"error":{"message":"The engine is lost.","type":"server_error","code":null}}\n\n',
    "anthropic": 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    "gemini": 'data: {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}\r\n\r\n',
}


def before_content(dialect: str) -> str:
    """What a stream sends before its first content."""
    body = next(iter(WHOLE[dialect].values()))
    events = body.split("\n\n")
    first = next(at for at, event in enumerate(events) if CONTENT in event)
    return "".join(f"{event}\n\n" for event in events[:first])


def places(body: str) -> list[list[int]]:
    return [[], *([at] for at in range(len(body))), *([at, at + 7] for at in range(0, len(body), 5))]


@pytest.mark.parametrize(("dialect", "name"), [(dialect, name) for dialect, each in WHOLE.items() for name in each])
def test_a_stream_with_content_passes_with_every_byte_so_far_however_it_is_cut(dialect: str, name: str) -> None:
    body = WHOLE[dialect][name]
    for at in places(body):
        passed, status = feed(dialect, cut(body, at))
        if name.startswith("DONE without"):
            assert body.startswith(passed)
            continue
        assert status == PASSES
        assert passed
        assert body.startswith(passed)


@pytest.mark.parametrize("dialect", WHOLE)
def test_nothing_passes_of_a_stream_that_fails_before_its_content(dialect: str) -> None:
    begun = before_content(dialect)
    for body, expected in (
        (ERRORS[dialect], REFUSED),
        (": comment\n\n" + ERRORS[dialect], REFUSED),
        (begun + ERRORS[dialect], BROKE if begun else REFUSED),
        (begun + ERRORS["openai"], BROKE if begun else REFUSED),
        (begun + "event: error\ndata: Internal Server Error\n\n", BROKE if begun else REFUSED),
    ):
        for at in places(body):
            state, passed = OPENING.new(dialect), ""
            status = None
            for piece in filter(None, cut(body, at)):
                sent, verdict = OPENING.feed(state, piece)
                status = status or verdict
                passed += "" if status else sent
            assert (passed, status) == ("", expected)


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_stream_that_ends_before_its_content_broke(dialect: str) -> None:
    body = before_content(dialect)
    for size in range(len(body) + 1):
        state = OPENING.new(dialect)
        if size:
            assert OPENING.feed(state, body[:size]) == ("", None)
        assert OPENING.feed(state, "")[1] == BROKE


@pytest.mark.parametrize(
    "pieces",
    [[": ping\n\n"] * 40, ["data: {}\n\n"] * 20, [": " + "x" * 20_000], ["data: " + "{" * 9_000] * 2],
    ids=["comments", "events", "a long comment", "a long event"],
)
def test_nobody_waits_for_a_long_opening(pieces: list[str]) -> None:
    passed, status = feed("openai", pieces)
    assert (status, passed != "", "".join(pieces).startswith(passed)) == (PASSES, True, True)


def test_text_of_the_model_is_no_error() -> None:
    said: Any = 'data: {"choices":[{"delta":{"content":"\\"error\\": {}"}}]}\n\n'
    assert feed("openai", [said]) == (said, PASSES)


def test_a_response_whose_tools_take_an_error_is_none() -> None:
    tools = '[{"name":"f","parameters":{"properties":{"error":{"type":"string"}}}}]'
    begun = 'data: {"type":"response.created","response":{"error":null,"tools":' + tools + "}}\n\n"
    said = 'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
    failed = 'data: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n'
    assert feed("responses", [begun, said]) == (begun + said, PASSES)
    assert feed("responses", [begun, failed])[1] == BROKE
