from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.line_text import read_line_text, write_line_text

VALUES = st.recursive(
    st.text() | st.integers(-(2**53), 2**53) | st.booleans(),
    lambda inner: st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def members(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, min_size=1, max_size=4))
def test_whatever_an_object_holds_is_read_back(value: dict[str, Any]) -> None:
    assert read_line_text(write_line_text(members(value))) == value


@pytest.mark.parametrize("value", [{"a": "'"}, {"'": '"'}, {"a": "\\'"}, {"a": '\\"'}, {}])
def test_an_object_as_the_previous_release_wrote_it_is_read_too(value: dict[str, Any]) -> None:
    assert read_line_text(json.dumps(value)) == value


def test_a_text_of_plain_words_has_nothing_to_escape() -> None:
    text = write_line_text(members({"team": "blue", "decided": {"took_us": 9}}))
    assert not set(text) & {'"', "\\"}


@pytest.mark.parametrize("text", ["", "{", "{'a':1", "{'a':\"b\"}", "{'a':'b','}"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_line_text(text)
