"""Writes values as JSON documents for a database, and reads them back with every field checked.

A value is a dataclass or a named tuple. Its type hints are the schema: texts, whole numbers, flags, bytes that are
UTF-8, enumerations, tuples, values of these kinds, and None where a hint allows it. A named tuple is an array.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

T = TypeVar("T")

_Read = Callable[[Any], Any]
"""Makes a value of what JSON had; raises `DocumentError`."""
_NAMES = {str: "text", int: "a whole number", bool: "true or false"}


class DocumentError(Exception):
    """A document that does not fit its type. The text says where and why."""


def write_document(value: object) -> str:
    """Returns the document of a value."""
    return orjson.dumps(value, default=_plain).decode()


def read_document(document: str, kind: type[T]) -> T:
    """Returns the value of type `kind` that a document holds. Ignores fields that the type does not have.

    Raises:
        DocumentError: a field is missing, or has a value that its type does not allow.
    """
    try:
        held = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise DocumentError(f"it is not JSON: {error}") from error
    schema: Any = kind
    value: T = _reader(schema)(held)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"no document can hold {type(value).__name__}")


@lru_cache(maxsize=256)
def _reader(kind: Any) -> _Read:
    """The function that reads values of this type. Making it takes longer than using it."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return _optional(parts)
    if origin is tuple:
        return _array(_reader(parts[0])) if parts[1:] == (...,) else _row([_reader(part) for part in parts], tuple)
    if is_dataclass(kind):
        return _record(kind)
    if issubclass(kind, tuple):
        return _row([_reader(hint) for hint in get_type_hints(kind).values()], lambda values: kind(*values))
    return _choice(kind) if issubclass(kind, Enum) else _plain_value(kind)


def _plain_value(kind: type) -> _Read:
    if kind is bytes:
        return lambda held: _exactly(str, held).encode()
    if kind not in _NAMES:
        raise TypeError(f"no document can hold {kind.__name__}")
    return lambda held: _exactly(kind, held)


def _exactly(kind: type, held: Any) -> Any:
    if type(held) is not kind:
        raise DocumentError(f"must be {_NAMES[kind]}")
    return held


def _choice(kind: type[Enum]) -> _Read:
    def read(held: Any) -> Enum:
        try:
            return kind(held)
        except ValueError as error:
            raise DocumentError(f"must be one of {', '.join(str(each.value) for each in kind)}") from error

    return read


def _optional(parts: tuple[Any, ...]) -> _Read:
    given = [part for part in parts if part is not types.NoneType]
    if len(given) != 1 or len(parts) != 2:
        raise TypeError("a document's field has one type, or one type and None")
    read = _reader(given[0])
    return lambda held: None if held is None else read(held)


def _array(read: _Read) -> _Read:
    return lambda held: tuple(_at(f"[{at}]", read, each) for at, each in enumerate(_exactly_list(held)))


def _row(reads: Sequence[_Read], make: Callable[[list[Any]], Any]) -> _Read:
    def read(held: Any) -> Any:
        if len(_exactly_list(held)) != len(reads):
            raise DocumentError(f"must have {len(reads)} parts")
        return make([_at(f"[{at}]", reads[at], each) for at, each in enumerate(held)])

    return read


def _exactly_list(held: Any) -> list[Any]:
    if not isinstance(held, list):
        raise DocumentError("must be a list")
    return held


def _record(kind: Any) -> _Read:
    hints = get_type_hints(kind)
    reads = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]

    def read(held: Any) -> Any:
        if not isinstance(held, dict):
            raise DocumentError("must be an object")
        for name in needed:
            if name not in held:
                raise DocumentError(f"{name} is missing")
        return kind(**{name: _at(name, reads[name], held[name]) for name in reads if name in held})

    return read


def _at(place: str, read: _Read, held: Any) -> Any:
    try:
        return read(held)
    except DocumentError as error:
        raise DocumentError(f"{place}: {error}") from error
