from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import orjson
import pytest

from services.chassis.documents import DocumentError, read_document, write_document


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Place(NamedTuple):
    """A named tuple."""

    street: str
    number: int


@dataclass(frozen=True, slots=True)
class Part:
    """A value within another."""

    name: str
    colour: Colour | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """A value with a field of each kind."""

    name: str
    count: int
    fresh: bool
    digest: bytes
    place: Place
    parts: tuple[Part, ...]
    amounts: tuple[tuple[Place, int], ...] = ()
    note: str | None = None
    lists: tuple[str, ...] = field(default_factory=tuple)


WHOLE = Whole(
    'a "name"',
    2**53,
    True,
    b"",
    Place("Main", 3),
    (Part("hub", Colour.RED), Part("rim")),
    ((Place("Side", 4), 5),),
    lists=("x", "y"),
)


def test_what_was_written_is_read_back_exactly() -> None:
    assert read_document(write_document(WHOLE), Whole) == WHOLE
    assert read_document(write_document("text"), str) == "text"


def test_a_document_of_the_release_before_lacks_the_fields_with_defaults_and_has_others() -> None:
    older = '{"name":"n","count":1,"fresh":false,"digest":"","place":["Main",3],"parts":[],"gone":{"a":1}}'

    assert read_document(older, Whole) == Whole("n", 1, False, b"", Place("Main", 3), ())


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "it is not JSON"),
        ("[]", "must be an object"),
        ('{"colour":"red"}', "name is missing"),
        ('{"name":1}', "name: must be text"),
        ('{"name":"n","colour":"green"}', "colour: must be one of red, blue"),
    ],
)
def test_a_damaged_document_is_refused_with_the_place_of_the_damage(document: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        read_document(document, Part)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("count", "true", "count: must be a whole number"),
        ("count", "1.0", "count: must be a whole number"),
        ("fresh", "1", "fresh: must be true or false"),
        ("digest", "3", "digest: must be text"),
        ("place", '["Main"]', "place: must have 2 parts"),
        ("parts", "{}", "parts: must be a list"),
        ("parts", '[{"name":"n"},{"name":2}]', r"parts: \[1\]: name: must be text"),
    ],
)
def test_each_field_is_checked_by_its_type(field: str, value: str, problem: str) -> None:
    document = {**orjson.loads(write_document(WHOLE)), field: orjson.loads(value)}

    with pytest.raises(DocumentError, match=problem):
        read_document(orjson.dumps(document).decode(), Whole)


def test_a_type_that_no_document_can_hold_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(TypeError, match="no document can hold float"):
        read_document("1.5", float)
