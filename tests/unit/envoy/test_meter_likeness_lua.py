"""The meter skips reading an event that resembles the previous one, and the result must not show that.

A comment between two events means nothing, but ends the resemblance. So a stream with comments must give the same
result as without, whatever is in it and however it is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.kernel.spool_contract import SeenKey, UsageKey
from tests.worlds.lua_meter import Metered, cut, meter
from tests.worlds.lua_scripts import wire

COMMENT = ": nothing"
# Where a text has one of these, the stream has what no JSON may have: the end of a line, or a quote too many.
RAW = {
    "{lf}": "\n",
    "{end}": "\n\n",
    "{cr}": "\r",
    "{returns}": "\r\r",
    "{quote}": '"',
    "{fake}": '"usage":{"prompt_tokens":9}',
}
TEXTS = st.sampled_from(
    ["word ", "a longer word ", "", "é", '"', "\\", '\\"usage"', "usage", 'error "finish_reason"', "data: ", *RAW]
)
# Rarely equal, often alike, now and then one digit longer or a zero.
NUMBERS = st.integers(0, 12) | st.integers(95, 105) | st.sampled_from([0, 20])
DIALECTS = st.sampled_from(["openai", "anthropic", "gemini"])


def openai(text: str, number: int, odd: int) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "logprobs": None}
    chunk: dict[str, Any] = {"id": "x", "choices": [choice | {"finish_reason": "stop" if odd == 1 else None}]}
    if odd in {1, 2}:
        return chunk | {"usage": {"prompt_tokens": number, "completion_tokens": number + 1}}
    if odd in {3, 4, 6}:
        return chunk | {"usage": None}
    return {"usage": None, **chunk} if odd == 5 else chunk


def anthropic(text: str, number: int, odd: int) -> dict[str, Any]:
    if odd == 1:
        return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": number}}
    if odd == 2:
        return {"type": "content_block_start", "index": number, "content_block": {"type": "text", "text": text}}
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def gemini(text: str, number: int, odd: int) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    figures: dict[str, Any] = {"promptTokenCount": 70, "candidatesTokenCount": number, "totalTokenCount": 70 + number}
    if odd == 1:
        candidate["finishReason"] = "STOP"
    if odd == 2:
        return {"usageMetadata": figures, "candidates": [candidate]}
    if odd == 3:
        return {"candidates": [candidate]}
    return {"candidates": [candidate], "usageMetadata": figures, "modelVersion": "m-1"}


EVENTS = {"openai": openai, "anthropic": anthropic, "gemini": gemini}
# Runs of events of one kind, the usual one of a dialect above all.
ODD = st.just(0) | st.integers(0, 6)
RUNS = st.lists(st.tuples(ODD, st.lists(st.tuples(TEXTS, NUMBERS), min_size=1, max_size=4)), min_size=1, max_size=6)
SAID = RUNS.map(lambda runs: [(*each, odd) for odd, run in runs for each in run])


def line_of(dialect: str, said: tuple[str, int, int]) -> str:
    line = "data: " + json.dumps(EVENTS[dialect](*said), ensure_ascii=False)
    if said[2] == 6:
        line += "\nid: 7"
    for name, raw in RAW.items():
        line = line.replace(name, raw)
    return wire(line)


def read(dialect: str, events: Iterable[str], end: str, cuts: list[int], *, strip: bool) -> Metered:
    stream = "".join(event + end for event in events)
    return meter(dialect, cut(stream, cuts), stream=True, strip=strip)


def told(metered: Metered) -> dict[str, Any]:
    """All but what comments change: how many events there are, and bytes."""
    seen = metered.told.get(UsageKey.SEEN) or {}
    return metered.told | {UsageKey.SEEN: {key: seen.get(key) for key in (SeenKey.CONTENT, SeenKey.TEXT)}}


@settings(max_examples=400, deadline=None)
@given(
    DIALECTS,
    SAID,
    st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.booleans(),
)
@example("openai", [("word ", 0, 0), ("{lf}", 0, 6), ("word ", 0, 6)], "\n\n", [], True)
# A piece that ends within the last line end, after an event without any data.
@example("openai", [("é", 0, 0)] * 3 + [('error "finish_reason"', 0, 0), ("{end}", 0, 3)], "\r\n\r\n", [5713], True)
def test_a_stream_is_read_as_if_each_event_were_looked_at(
    dialect: str, said: list[tuple[str, int, int]], end: str, cuts: list[int], strip: bool
) -> None:
    strip = strip and dialect == "openai"
    lines = [line_of(dialect, each) for each in said]
    broken = [part for line in lines for part in (line, COMMENT)]
    # Comments ahead too: the first event of all is looked at in any case.
    alike = read(dialect, [COMMENT, *lines], end, cuts, strip=strip)
    alone = read(dialect, [COMMENT, *broken], end, cuts, strip=strip)
    assert told(alike) == told(alone)
    assert alike.passed == alone.passed.replace(COMMENT + end, "", len(lines) + 1).join([COMMENT + end, ""])


@pytest.mark.parametrize(
    ("told_so_far", "output"),
    [([5, 0], 5), ([19, 20], 20), ([9, 10, 11], 11), ([3, 0, 4], 4), ([8, 9], 9), ([0, (5, 2), 0], 5)],
)
def test_of_numbers_that_grow_the_last_counts_and_no_zero_replaces_one(told_so_far: list[Any], output: int) -> None:
    each = [number if isinstance(number, tuple) else (number, 0) for number in [2, *told_so_far]]
    lines = [line_of("gemini", ("word", number, odd)) for number, odd in each]
    assert read("gemini", lines, "\n\n", [], strip=False).told[UsageKey.OUTPUT_TOKENS] == output


def test_what_is_taken_out_of_one_event_is_taken_out_of_all_that_are_like_it() -> None:
    asked = [line_of("openai", (text, 0, 3)) for text in ("a", "longer", "é", "a", '"')]
    clean = [line_of("openai", (text, 0, 0)) for text in ("a", "longer", "é", "a", '"')]
    assert read("openai", asked, "\n\n", [], strip=True).passed == "".join(line + "\n\n" for line in clean)
