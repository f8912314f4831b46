"""Requests in which one field holds a value that no client should send: what a careless or hostile client makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

MOST, LEAST = 2**63 - 1, -(2**63)
_HOSTILE: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_ENUM: (99, -1, 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT32: (-1, -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-1, LEAST, MOST),
    FieldDescriptor.CPPTYPE_BOOL: (True,),
    FieldDescriptor.CPPTYPE_STRING: ("", "\0", "\N{SNOWMAN}", "x" * 100_000, "ds", "spend/month/UTC"),
}
_WELL_KNOWN: dict[str, tuple[Any, ...]] = {
    "google.protobuf.Timestamp": tuple(Timestamp(seconds=each) for each in (LEAST, -1, 253_402_300_799, MOST)),
    "google.protobuf.Duration": tuple(
        Duration(seconds=each, nanos=nanos) for each, nanos in ((LEAST, 0), (-1, 0), (0, 1), (MOST, 0))
    ),
}
_DEEPEST = 6
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
"""What no request may get: a failure of ours, whose cause only the log has."""


def hostile(base: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Copies of `base` in which one field holds a value that makes no sense, each with the path of that field."""
    for field in base.DESCRIPTOR.fields:
        held = getattr(base, field.name)
        for path, value in _values_of(field, held, depth):
            copy = type(base)()
            copy.CopyFrom(base)
            copy.ClearField(field.name)
            copy.MergeFrom(type(base)(**{field.name: value}))
            yield f".{field.name}{path}", copy


def code_of(ask: Callable[[], object]) -> grpc.StatusCode | None:
    """The code with which a call fails; None: it does not."""
    try:
        ask()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        return code
    return None


def _values_of(field: FieldDescriptor, held: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Hostile values of a field, with the rest of its path. `held` is the value that makes sense."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield "", {"x" * 1_000: LEAST, "input": MOST}
        return
    if field.message_type is None:
        values = [("", value) for value in _HOSTILE[field.cpp_type]]
    elif wrong := _WELL_KNOWN.get(field.message_type.full_name):
        values = [("", value) for value in wrong]
    else:
        first = (held[0] if held else None) if field.is_repeated else held
        part = GetMessageClass(field.message_type)() if first is None else first
        values = list(hostile(part, depth + 1)) if depth < _DEEPEST else []
    for path, value in values:
        yield path, [value] if field.is_repeated else value
