from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import pytest

from services.ledger.domain.call import Caller, SpooledAttempt, SpooledCall, parse_line
from services.ledger.domain.line_fields import LineReader, UnreadableLineError
from tests.worlds.spool_lines import attempt_fields, call_fields


class Name(StrEnum):
    WORD = "w"
    NUMBER = "n"
    FLAG = "f"
    LIST = "l"


@dataclass
class Everything:
    word: Annotated[str, Name.WORD]
    number: Annotated[int, Name.NUMBER]
    flag: Annotated[bool, Name.FLAG]
    names: Annotated[tuple[str, ...], Name.LIST]
    made: float = 1.5


@dataclass
class OfNoLine:
    ratio: Annotated[float, Name.NUMBER]


def test_each_attribute_is_read_by_its_type_and_what_is_not_annotated_is_left_alone() -> None:
    read = LineReader(Everything).read({"w": "a", "n": "12", "f": "true", "l": "b,c"})
    assert read == {"word": "a", "number": 12, "flag": True, "names": ("b", "c")}


@pytest.mark.parametrize("unknown", [{}, dict.fromkeys(Name, None), dict.fromkeys(Name, "-")])
def test_what_envoy_does_not_know_is_empty(unknown: dict[str, Any]) -> None:
    assert LineReader(Everything).read(unknown) == {"word": "", "number": 0, "flag": False, "names": ()}


@pytest.mark.parametrize("wrong", [{"w": 5}, {"n": "x"}, {"f": "perhaps"}, {"l": ["b"]}])
def test_a_value_of_another_type_is_refused_by_its_name_in_the_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnreadableLineError, match=f"^{next(iter(wrong))} "):
        LineReader(Everything).read(wrong)


def test_a_type_that_no_line_holds_is_refused_before_any_line_comes() -> None:
    with pytest.raises(TypeError, match=r"OfNoLine\.ratio"):
        LineReader(OfNoLine)


def distinct(of: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a line that are all different, and the attributes that they become."""
    line: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for number, (attribute, hint) in enumerate(get_type_hints(of, include_extras=True).items(), start=1):
        for name in getattr(hint, "__metadata__", ()):
            kind = hint.__origin__
            written = {str: f"{name}-is-{number}", int: number, bool: True}.get(kind, f"{name},{number}")
            line[name.value] = written
            attributes[attribute] = written if kind in {str, int, bool} else (name.value, str(number))
    return line, attributes


@pytest.mark.parametrize("fields", [call_fields(model=None), attempt_fields()])
def test_no_field_of_a_line_takes_the_place_of_another(fields: dict[str, Any]) -> None:
    of = SpooledCall if fields["kind"] == "call" else SpooledAttempt
    line, attributes = distinct(of)
    parsed = parse_line(fields | line)
    assert {attribute: getattr(parsed, attribute) for attribute in attributes} == attributes


def test_no_part_of_the_caller_takes_the_place_of_another() -> None:
    line, attributes = distinct(Caller)
    parsed = parse_line(call_fields() | line)
    assert isinstance(parsed, SpooledCall)
    assert parsed.caller == Caller(**attributes)
