"""The meter in LuaJIT, as Envoy runs it. What it reads of a hundred awkward answers: tests/contract/golden/answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.kernel.spool_contract import UNREPORTED_TEXT_BYTES, SeenKey, UsageKey
from tests.worlds.lua_meter import ANSWER, cut, meter
from tests.worlds.lua_scripts import FOLDER, plain, wire

LONGEST_HELD = 16_384
USAGE = {"prompt_tokens": 36, "completion_tokens": 7, "total_tokens": 43}
USAGE_CHUNK = {"id": "x", "choices": [], "usage": USAGE}
FIGURES = {"meter": "whole", "input_tokens": 36, "output_tokens": 7}

CONTENTS = st.sampled_from(['é "usage":null}', "[DONE]", "", '\\"usage\\":{"prompt_tokens":1}'])
DELTAS = st.fixed_dictionaries(
    {"id": st.just("x"), "choices": CONTENTS.map(lambda text: [{"index": 0, "delta": {"content": text}}])},
    optional={"usage": st.none()},
)
ENDS = st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"])
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": ")])
# Lines that an event may have before its data.
HEADS = st.sampled_from(["", ": comment", "event: chunk", "id: 7", "retry: 3", "event: chunk\nid: 1\n: x"])
CUTS = st.lists(st.integers(0, 100_000), max_size=12)


def event(payload: Any, end: str = "\n\n", separators: tuple[str, str] = (", ", ": "), head: str = "") -> str:
    line_end = end[: len(end) // 2]
    lines = [*head.split("\n")] if head else []
    data = json.dumps(payload, ensure_ascii=False, separators=separators)
    return line_end.join([*lines, f"data: {data}"]) + end


def strip(stream: str, *cuts: int) -> str:
    return str(plain(meter("openai", cut(wire(stream), cuts), stream=True, strip=True).passed))


def parse(stream: str, end: str) -> list[Any]:
    """The events of a stream: their lines, data as what it says."""
    return [
        [json.loads(line[6:]) if line.startswith("data: {") else line for line in each.split(end[: len(end) // 2])]
        for each in stream.split(end)
        if each
    ]


@given(st.lists(st.tuples(DELTAS, HEADS), max_size=6), CUTS, st.tuples(ENDS, SEPARATORS, HEADS), st.booleans())
def test_the_client_sees_the_stream_as_if_nobody_had_asked_for_usage(
    deltas: list[tuple[dict[str, Any], str]], cuts: list[int], look: tuple[str, tuple[str, str], str], first: bool
) -> None:
    end, separators, head = look
    shuffled = [(dict(sorted(delta.items(), reverse=first)), each) for delta, each in deltas]
    done = f"data: [DONE]{end}"
    asked = "".join(event(delta, end, separators, each) for delta, each in [*shuffled, (USAGE_CHUNK, head)]) + done
    clean = [({key: value for key, value in delta.items() if key != "usage"}, each) for delta, each in shuffled]

    seen = strip(asked, *cuts)

    assert parse(seen, end) == parse("".join(event(*each[:1], end, separators, each[1]) for each in clean) + done, end)
    assert meter("openai", cut(wire(asked), cuts), stream=True, strip=True).told.items() >= FIGURES.items()


@pytest.mark.parametrize(
    "untouched",
    [
        event({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}}),
        event({"usage": {"prompt_tokens": 1}}),
        event({"choices": [], "prompt_filter_results": []}),
        event({"error": {"message": '"usage":null'}}),
        ": comment\n\n",
        "data: [DONE]\n\n",
        'data: {"choices":[],"usage":{broken}\n\n',
        'data: not json "usage"\n\n',
        'data: {"a":"[DONE]"}\n\ndata: {"b":{"usage":null}}\n\n',
        'data: {"choices":[],\ndata: "usage":null}\n\n',
        "data: unfinished",
        "\n\n\r\n\ndata: 1\n\n",
        "",
    ],
)
def test_everything_else_passes_byte_for_byte(untouched: str) -> None:
    assert strip(untouched) == untouched
    assert strip(untouched, *range(len(untouched))) == untouched


def test_a_null_usage_leaves_no_trace_wherever_it_is() -> None:
    assert strip('data: {"usage":null,"a":1}\n\n') == 'data: {"a":1}\n\n'
    assert strip('data: {"a":1,"usage":null}\n\n') == 'data: {"a":1}\n\n'
    assert strip('data:{"a":1 , "usage" : null}\n\n') == 'data:{"a":1 }\n\n'
    assert strip('data: {"a":1, "usage" : null , "b":2}\n\n') == 'data: {"a":1,  "b":2}\n\n'
    assert strip('data: {"usage":null}\n\n') == "data: {}\n\n"


def test_a_usage_chunk_over_several_lines_of_data_goes_too() -> None:
    data = json.dumps(USAGE_CHUNK, indent=1).replace("\n", "\ndata: ")

    assert strip(f"data: {data}\n\ndata: [DONE]\n\n") == "data: [DONE]\n\n"


@given(st.lists(st.integers(0, 400_000), max_size=8))
def test_an_event_that_is_too_long_passes_whole_and_the_next_is_looked_at_again(cuts: list[int]) -> None:
    long = event({"choices": [{"delta": {"content": "y" * 3 * LONGEST_HELD}}]})
    stream = long + event(USAGE_CHUNK) + "data: [DONE]\n\n"

    assert strip(stream, *cuts) == long + "data: [DONE]\n\n"
    assert meter("openai", cut(stream, cuts), stream=True).told.items() >= FIGURES.items()


def test_what_is_held_back_is_less_than_one_event() -> None:
    state = ANSWER.new("openai", True, True)

    assert ANSWER.take(state, "data: 1\n\ndata: ") == "data: 1\n\n"
    assert ANSWER.finish(state) == "data: "


def test_nothing_is_held_back_from_a_client_who_asked_for_usage_or_cannot() -> None:
    for dialect, asked in (("openai", False), ("anthropic", False), ("gemini", False)):
        state = ANSWER.new(dialect, True, asked)
        assert ANSWER.take(state, 'data: {"usa') == 'data: {"usa'


def test_the_end_passes_at_once_and_the_usage_is_known_by_then() -> None:
    metered = meter("openai", [event(USAGE_CHUNK) + "data: [DONE]\n\n"], stream=True, strip=True)

    assert set(metered.first) >= {"meter", "input_tokens", "output_tokens"}
    assert metered.passed == "data: [DONE]\n\n"


def test_each_figure_is_published_as_soon_as_it_has_come() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
    state = ANSWER.new("anthropic", True, False)
    ANSWER.take(state, f"event: message_start\ndata: {json.dumps(start)}\n\n")

    told = plain(ANSWER.news(state))

    assert (told["meter"], told["input_tokens"], told["output_tokens"]) == ("open", 9, 1)
    assert ANSWER.news(state) is None


def test_evidence_counts_the_events_that_say_something_and_their_text() -> None:
    deltas = [event({"choices": [{"delta": {"content": text}}]}) for text in ("", "ab", 'c"d')]
    metered = meter("openai", [*deltas, ": ping\n\n", event(USAGE_CHUNK), "data: [DONE]\n\n"], stream=True, strip=True)

    # As written: the quote has a backslash. The bytes leave out text that the client was not sent.
    sent = len("".join(deltas) + ": ping\n\ndata: [DONE]\n\n")
    assert metered.told["seen"] == {"events": 6, "content": 2, "text": 6, "bytes": sent}


def test_what_passed_since_evidence_was_reported_is_less_than_a_quarter_of_it() -> None:
    state, told = ANSWER.new("anthropic", True, False), 0
    for size in [4, 1, 500, *[3] * 400, 70, *[90] * 40]:
        ANSWER.take(state, event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x" * size}}))
        changed = ANSWER.news(state)
        told = plain(changed)["seen"]["text"] if changed and "seen" in plain(changed) else told
        assert state.stream.text < told * 1.25 + UNREPORTED_TEXT_BYTES


@given(
    st.binary(max_size=400).map(lambda raw: raw.decode("latin-1"))
    | st.text(alphabet='data: {}[]"\\usage\n\r,:1n', max_size=400),
    CUTS,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["openai", "anthropic", "gemini"]),
)
def test_no_bytes_make_the_meter_fail_or_change_what_a_client_is_sent(
    body: str, cuts: list[int], stream: bool, stripping: bool, dialect: str
) -> None:
    metered = meter(dialect, cut(body, cuts), stream=stream, strip=stripping and stream)

    assert metered.passed == body or (stripping and stream and len(metered.passed) < len(body))
    assert metered == meter(dialect, [body], stream=stream, strip=stripping and stream)._replace(first=metered.first)


NAMES = st.sampled_from(
    ["usage", "model", "choices", "prompt_tokens", "completion_tokens", "prompt_tokens_details", 'q"\\', "é"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**54)
    | st.floats(allow_nan=False)
    | st.text(alphabet='usage":{}[]\\,\n é0', max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6), SEPARATORS, st.booleans(), CUTS, st.booleans())
@example({"usage": {"prompt_tokens": "70", "completion_tokens": "0 0"}}, (",", ":"), False, [], True)
def test_the_figures_are_those_that_a_parser_finds(
    answer: dict[str, Any], separators: tuple[str, str], ascii_only: bool, cuts: list[int], stream: bool
) -> None:
    text = wire(json.dumps(answer, separators=separators, ensure_ascii=ascii_only))
    body = f"data: {text}\n\n" if stream else text
    usage = answer.get("usage")

    told = meter("openai", cut(body, cuts), stream=stream).told

    if isinstance(usage, list):
        return  # looked through on purpose, as Gemini's array of answers is
    said = usage if isinstance(usage, dict) else {}
    assert (told.get("input_tokens"), told.get("output_tokens")) == (
        count(said.get("prompt_tokens")),
        count(said.get("completion_tokens")),
    )


def count(value: object) -> int | None:
    """A number that counts something, or a string that holds one. What is written with a sign does not."""
    if isinstance(value, str):
        written = json.dumps(value)[1:-1]
        try:
            value = json.loads(written) if written[:1].isdigit() else None
        except json.JSONDecodeError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    if str(value).startswith("-"):
        return None
    return int(value) if value == int(value) else None


@given(st.text(max_size=60), st.sampled_from(["openai", "anthropic", "gemini"]), CUTS)
def test_no_text_of_an_answer_can_fake_usage(text: str, dialect: str, cuts: list[int]) -> None:
    fakes = '","usage":{"prompt_tokens":1,"input_tokens":1},"usageMetadata":{"promptTokenCount":1}' + text
    said = {
        "openai": {"choices": [{"delta": {"content": fakes, "usage": {"prompt_tokens": 2}}}]},
        "anthropic": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": fakes}},
        "gemini": {"candidates": [{"content": {"parts": [{"text": fakes, "args": {"usageMetadata": {"a": 1}}}]}}]},
    }[dialect]
    body = wire(event(said) * 2)

    told = meter(dialect, cut(body, cuts), stream=True).told

    assert (told["meter"], "input_tokens" in told, "output_tokens" in told) == ("none", False, False)


def test_the_meter_publishes_the_names_of_the_contract_and_no_other() -> None:
    source = (FOLDER / "meter" / "answer.lua").read_text(encoding="utf-8")

    assert set(ANSWER.figures.values()) == set(UsageKey) - {UsageKey.METER, UsageKey.SEEN}
    assert all(f"{name} =" in source for name in SeenKey)
