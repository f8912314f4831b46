from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.lua_scripts import load_module, plain, wire

JSON = load_module("json")

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
# Of every length in UTF-8, every escape of JSON, and all that gives it structure.
TEXTS = st.text('ab \\"/\b\n\t\x00\x1f\x7f{}[]:,\u00e9\u4e16\U0001f600', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
# Plain ones: any other is refused where names are watched, which has a test of its own.
NAMES = st.text("ab :,{}[]_-~!^", max_size=8)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
LAYOUTS = st.sampled_from(
    [{"separators": (",", ":")}, {"indent": 2}, {"indent": "\t"}, {"separators": (" , ", "\r\n: ")}]
)


def scan(text: str) -> tuple[Any, ...]:
    return tuple(JSON.scan(wire(text)))


def is_refused(text: str) -> bool:
    return scan(text)[0] is None


@given(OBJECTS, LAYOUTS, st.booleans())
def test_every_member_of_every_object_is_where_the_scan_says(
    value: dict[str, Any], layout: dict[str, Any], ascii_only: bool
) -> None:
    text = wire(json.dumps(value, ensure_ascii=ascii_only, **layout))
    first, last, start, opening = JSON.scan(text)
    assert set(plain(first)) == set(value)
    for name in first:
        found = text[first[name] - 1 : last[name]].encode("latin-1").decode()
        assert json.loads(found) == value[plain(name)]
        assert text[start[name] - 1] == '"'
    assert text[opening - 1] == "{"


@given(OBJECTS, st.data())
def test_no_object_that_is_cut_short_passes(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert is_refused(text[: data.draw(st.integers(0, len(text) - 1))])


def python_reads(text: str) -> bool:
    """Whether Python reads `text` as one JSON object, and no name at its top appears twice."""

    def constant(name: str) -> None:
        raise ValueError(name)

    pairs: list[list[Any]] = []

    def keep(members: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.append([name for name, _ in members])
        return dict(members)

    try:
        value = json.loads(text, strict=False, parse_constant=constant, object_pairs_hook=keep)
    except ValueError:
        return False
    return isinstance(value, dict) and len(set(pairs[-1])) == len(pairs[-1])


@settings(max_examples=150)
@given(OBJECTS, st.data())
def test_a_text_with_a_damaged_structure_passes_exactly_when_python_reads_it(
    value: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(value, separators=(",", ":"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 2))
        text = text[:at] + data.draw(st.sampled_from(["", *'{}[]",:0.-eE+ tn', "null"])) + text[at + cut :]
    # Strings are only followed to their end: a bad escape or an escaped top-level name is another test's matter.
    if "\\" not in text:
        assert is_refused(text) is not python_reads(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "null", "1", '"a"', "[]", "[{}]", "{} {}", "{},", "{", "}", '{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}',
        '{"a":1 "b":2}', '{"a":[1,]}', '{"a":[,1]}', '{"a":[1}', '{"a":{"b":1]}', "{'a':1}", '{"a":01}', '{"a":+1}',
        '{"a":.5}', '{"a":1.}', '{"a":1e}', '{"a":NaN}', '{"a":Infinity}', '{"a":tru}', '{"a":nulls}', '{"a":0x10}',
        '{"a":"', '{"a":"\\"', '{"a":"\\\\\\"}', "\ufeff{}", '{"a":1}x', '{"a":--1}', '{"a":1.2.3}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert is_refused(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}', '{"a":1,"b":2,"a":null}', '{"\\u0061":1}', '{"a\\"":1}',
        '{"max_to\u212aens":1}', '{"me\u017f":1}',
        '{"a\x00":1}', '{"a\x7f":1}', '{"\ufeffa":1}', '{"a\u200d":1}',
    ],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused(text: str) -> None:
    assert is_refused(text)


def test_equal_names_deeper_down_pass() -> None:
    assert not is_refused('{"a":{"b":1,"b":2},"b":[{"a":1},{"a":1}]}')


def test_deep_nesting_is_refused_and_does_not_overflow() -> None:
    assert is_refused('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert not is_refused('{"a":' + "[" * 100 + "]" * 100 + "}")


def test_backslashes_without_end_cost_no_more_than_their_number() -> None:
    # Quadratic work would take minutes here.
    assert not is_refused('{"a":"' + "\\\\" * 1_000_000 + '"}')
    assert is_refused('{"a":"' + '\\"' * 1_000_000)


@given(TEXTS, st.booleans())
def test_strings_come_back_as_they_were(value: str, ascii_only: bool) -> None:
    raw = wire(json.dumps(value, ensure_ascii=ascii_only))
    assert plain(JSON.string(raw, 1, len(raw))) == value


@pytest.mark.parametrize("text", ['"\\x"', '"\\ud800"', '"\\udc00"', '"\\u12"', '"\\ud800\\u0041"', "1", "null", "{}"])
def test_what_is_no_string_is_told_apart(text: str) -> None:
    assert JSON.string(text, 1, len(text)) is None


@given(TEXTS)
def test_quoted_text_is_json_for_that_text(value: str) -> None:
    assert json.loads(plain(JSON.quote(wire(value)))) == value


@pytest.mark.parametrize("piece", ["0,", "[],", '"",', '{"a":1},', "null,"])
def test_a_text_of_nothing_but_structure_is_given_up_early(piece: str) -> None:
    few, many = piece * 80_000, piece * (16 * 2**20 // len(piece))
    assert not is_refused(f'{{"a":[{few}0]}}')
    assert "more than" in scan(f'{{"a":[{many}0]}}')[1]


@given(st.from_regex(r"-?[0-9]{0,3}(\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?", fullmatch=True))
def test_a_number_passes_exactly_when_python_reads_it(number: str) -> None:
    text = f'{{"a":{number}}}'
    assert is_refused(text) is not python_reads(text)
