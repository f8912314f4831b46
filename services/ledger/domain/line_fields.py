"""Reads single fields of a spool line. A refusal names the field, never its value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

from services.kernel.spool_contract import SpoolKey

# Fits the database, and no honest counter reaches it.
_MAX_COUNT = 2**63 - 1
_MOST_DIGITS = 20
_LONGEST_TEXT = 4_096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400


class UnreadableLineError(ValueError):
    """A spool line that Envoy would not write. The text says which field is wrong, never its value."""


class LineReader:
    """Reads the attributes of a type from a line. Each is annotated with its name in the line.

    A text is read as `str`, a whole number as `int`, a flag as `bool`, and names joined by commas as a tuple of texts.
    """

    def __init__(self, of: type) -> None:
        """Finds the attributes.

        Raises:
            TypeError: one of them has a type that lines do not have.
        """
        found: dict[type, dict[str, str]] = {str: {}, int: {}, bool: {}, tuple: {}}
        for attribute, hint in get_type_hints(of, include_extras=True).items():
            for name in getattr(hint, "__metadata__", ()):
                kind = get_args(hint)[0]
                kind = tuple if kind == tuple[str, ...] else kind
                if kind not in found:
                    raise TypeError(f"{of.__name__}.{attribute} is of no type that a line holds")
                found[kind][attribute] = name.value
        self._flags, self._lists = found[bool], tuple(found[tuple])
        texts, counts = found[str] | found[tuple], found[int]
        self._texts, self._counts = tuple(texts.values()), tuple(counts.values())
        self._attributes = (*texts, *counts)

    def read(self, fields: Mapping[str, object]) -> dict[str, Any]:
        """Returns values by attribute; empty, 0 or false where Envoy knew none.

        Raises:
            UnreadableLineError: a value is not of its type, or is out of range.
        """
        values: list[Any] = read_texts(fields, self._texts)
        if self._counts:
            values += read_counts(fields, self._counts)
        read: dict[str, Any] = dict(zip(self._attributes, values, strict=True))
        for attribute in self._lists:
            joined = read[attribute]
            read[attribute] = tuple(joined.split(",")) if joined else ()
        for attribute, name in self._flags.items():
            read[attribute] = _read_flag(fields, name)
        return read


def plain(*keys: StrEnum) -> tuple[str, ...]:
    """Returns the keys as plain strings: members of an enumeration are twice as slow to look up."""
    return tuple(key.value for key in keys)


def is_known(value: object) -> bool:
    """Whether Envoy knew a value."""
    return value not in (None, "-", "")


def read_counts(fields: Mapping[str, object], names: tuple[str, ...]) -> list[int]:
    """Reads whole numbers; 0 where Envoy knew none.

    Raises:
        UnreadableLineError: a value is not a whole number, or is out of range.
    """
    counts = [
        value if type(value) is int else _count_of(value, name)
        for name, value in zip(names, map(fields.get, names), strict=True)
    ]
    if min(counts) < 0 or max(counts) > _MAX_COUNT:
        name = next(name for name, count in zip(names, counts, strict=True) if not 0 <= count <= _MAX_COUNT)
        raise UnreadableLineError(f"{name} is out of range")
    return counts


def _count_of(value: object, name: str) -> int:
    if not is_known(value):
        return 0
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < _MOST_DIGITS:
        return int(value)
    raise UnreadableLineError(f"{name} is not a whole number")


def read_texts(fields: Mapping[str, object], names: tuple[str, ...]) -> list[str]:
    """Reads texts; empty where Envoy knew none.

    Raises:
        UnreadableLineError: a value is not a text, or is too long.
    """
    values: list[Any] = ["" if value is None or value == "-" else value for value in map(fields.get, names)]
    try:
        # The fast path for nearly every line: all values are texts, and together shorter than the limit for one.
        if len("".join(values)) <= _LONGEST_TEXT:
            return values
    except TypeError:
        pass
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise UnreadableLineError(f"{name} is not a text of at most {_LONGEST_TEXT} characters")
    return values


def require(value: str, name: str) -> None:
    """Checks that a text is not empty.

    Raises:
        UnreadableLineError: it is empty.
    """
    if not value:
        raise UnreadableLineError(f"{name} is missing")


def _read_flag(fields: Mapping[str, object], name: str) -> bool:
    """Reads a flag; false where Envoy did not know it.

    Raises:
        UnreadableLineError: the value is something else.
    """
    value = fields.get(name)
    if value in (True, "true"):
        return True
    if value in (None, False, "false", "-", ""):
        return False
    raise UnreadableLineError(f"{name} is neither true nor false")


def read_time_us(fields: Mapping[str, object]) -> int:
    """Reads when the call or attempt began, in microseconds since 1970.

    Raises:
        UnreadableLineError: the time is missing, or has no zone.
    """
    text = fields.get(SpoolKey.TIME.value)
    if not isinstance(text, str):
        raise UnreadableLineError(f"{SpoolKey.TIME} is missing")
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except (ValueError, TypeError) as error:
        raise UnreadableLineError(f"{SpoolKey.TIME} is not a time with its zone") from error
    return (since.days * _DAY_S + since.seconds) * 1_000_000 + since.microseconds
