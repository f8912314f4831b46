from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.envoy.lua_scripts import load, plain, wire

ANSWER = load("answer")
LONGEST_LOOKED_AT = 65_536

CONTENTS = st.sampled_from(['é "usage":null}', "[DONE]", ""])
DELTAS = st.fixed_dictionaries(
    {"id": st.just("x"), "choices": CONTENTS.map(lambda text: [{"index": 0, "delta": {"content": text}}])},
    optional={"usage": st.none()},
)
USAGE = {"id": "x", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
ENDS = st.sampled_from(["\n\n", "\r\n\r\n"])
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": ")])


def event(payload: Any, end: str = "\n\n", separators: tuple[str, str] = (", ", ": ")) -> str:
    return f"data: {json.dumps(payload, ensure_ascii=False, separators=separators)}{end}"


def strip(stream: str, *cuts: int, take_usage_out: bool = True) -> str:
    raw = wire(stream)
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    state = ANSWER.new_stream(take_usage_out)
    sent = [ANSWER.feed(state, raw[start:end]) for start, end in pairwise(edges)]
    text = plain("".join(sent) + ANSWER.finish(state))
    assert isinstance(text, str)
    return text


@given(st.lists(DELTAS, max_size=6), st.lists(st.integers(0, 10_000), max_size=12), ENDS, SEPARATORS, st.booleans())
def test_the_client_sees_the_stream_as_if_nobody_had_asked_for_usage(
    deltas: list[dict[str, Any]], cuts: list[int], end: str, separators: tuple[str, str], first: bool
) -> None:
    shuffled = [dict(sorted(delta.items(), reverse=first)) for delta in deltas]
    stream = "".join(event(delta, end, separators) for delta in [*shuffled, USAGE]) + f"data: [DONE]{end}"
    clean = [{key: value for key, value in delta.items() if key != "usage"} for delta in shuffled]
    seen = strip(stream, *cuts)
    assert [json.loads(part[6:]) for part in seen.split(end)[:-2]] == clean
    assert seen.endswith(f"data: [DONE]{end}")


@pytest.mark.parametrize(
    "untouched",
    [
        event({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}}),
        event({"usage": {"prompt_tokens": 1}}),
        event({"choices": [], "prompt_filter_results": []}),
        event({"error": {"message": '"usage":null'}}),
        ": comment\n\n",
        "data: [DONE]\n\n",
        'data: {"choices":[],"usage":{broken}}\n\n',
        'data: not json "usage"\n\n',
        'data: {"a":"[DONE]"}\n\ndata: {"b":{"usage":null}}\n\n',
        "data: unfinished",
        "",
    ],
)
def test_everything_else_passes_byte_for_byte(untouched: str) -> None:
    assert strip(untouched) == untouched
    assert strip(untouched, *range(len(untouched))) == untouched


def test_a_null_usage_leaves_no_trace_wherever_it_stands() -> None:
    assert strip('data: {"usage":null,"a":1}\n\n') == 'data: {"a":1}\n\n'
    assert strip('data: {"a":1,"usage":null}\n\n') == 'data: {"a":1}\n\n'
    assert strip('data: {"a":1, "usage" : null , "b":2}\n\n') == 'data: {"a":1,  "b":2}\n\n'
    assert strip('data: {"usage":null}\n\n') == "data: {}\n\n"


@given(st.lists(st.integers(0, 400_000), max_size=8))
def test_an_event_that_is_too_long_passes_whole_and_the_next_is_looked_at_again(cuts: list[int]) -> None:
    long = event({"choices": [{"delta": {"content": "y" * 3 * LONGEST_LOOKED_AT}}]})
    assert strip(long + event(USAGE) + "data: [DONE]\n\n", *cuts) == long + "data: [DONE]\n\n"


def test_what_is_held_back_is_less_than_one_event() -> None:
    state = ANSWER.new_stream(True)
    assert ANSWER.feed(state, "data: 1\n\ndata: ") == "data: 1\n\n"
    assert state.held == "data: "


def test_the_last_event_waits_for_the_end_of_the_stream() -> None:
    state = ANSWER.new_stream(False)
    assert ANSWER.feed(state, "data: 1\n\ndata: [DONE]\n\n") == "data: 1\n\n"
    assert ANSWER.finish(state) == "data: [DONE]\n\n"
    assert ANSWER.finish(state) == ""


def test_a_client_that_asked_for_usage_gets_every_byte() -> None:
    stream = event({"choices": [], "usage": None}) + event(USAGE) + "data: [DONE]\n\n"
    assert strip(stream, 5, 90, take_usage_out=False) == stream
