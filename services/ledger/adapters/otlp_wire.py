"""Encodes spans as bytes of OTLP.

Making a span with protobuf's Python library takes three times as long, and with OpenTelemetry's SDK far longer: its
clocks, samplers and processors serve spans that begin and end while a process runs. Numbers of fields:
opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto, version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from services.chassis.protobuf_wire import length_delimited, varint

Attribute = str | int | float | bool | tuple[str, ...]

# Fields of a Span with their wire types, in front of values of a fixed size.
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_NAME, _KIND, _ATTRIBUTE = b"\x2a", b"\x30", b"\x4a"
_TIMES = struct.Struct("<cQcQ")
_START, _END = b"\x39", b"\x41"
_ERROR = b"\x7a\x02\x18\x02"
"""Status with the code ERROR."""
_FLAGS = b"\x85\x01"
# W3C's "sampled" and "random"; OTLP's "it is known whether the parent is remote" and "the parent is remote"
# (SpanFlags).
_LOCAL, _REMOTE = struct.pack("<I", 0x101), struct.pack("<I", 0x301)
# Fields of a KeyValue and of an AnyValue.
_KEY, _VALUE = b"\x0a", b"\x12"
_STRING, _BOOL, _INT, _DOUBLE_TAG = b"\x0a", b"\x10", b"\x18", b"\x21"
_DOUBLE = struct.Struct("<cd")
_ATTRIBUTES_MAX = 4_096
_SCOPE = InstrumentationScope(name="spendgate")


class Kind(IntEnum):
    """`Span.SpanKind`."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Identity(NamedTuple):
    """The place of a span in its trace. Ids are hex digits."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    is_parent_remote: bool = False
    """Whether the parent is another process's span, outside the gateway."""


def span(
    identity: Identity, name: str, kind: Kind, times_us: tuple[int, int], attributes: bytes, *, failed: bool = False
) -> bytes:
    """Returns a Span. `attributes` are what `texts` and `attribute` return. `times_us` are since 1970."""
    start_us, end_us = times_us
    parent = _PARENT_ID + bytes.fromhex(identity.parent_id) if identity.parent_id else b""
    return b"".join(
        (
            _TRACE_ID,
            bytes.fromhex(identity.trace_id),
            _SPAN_ID,
            bytes.fromhex(identity.span_id),
            parent,
            _sized(_NAME, name),
            _KIND,
            varint(kind),
            _TIMES.pack(_START, start_us * 1_000, _END, max(start_us, end_us) * 1_000),
            attributes,
            _ERROR if failed else b"",
            _FLAGS,
            _REMOTE if identity.is_parent_remote else _LOCAL,
        )
    )


def attributes(values: Mapping[str, Attribute]) -> bytes:
    """Returns the attributes of a span. Leaves out empty texts."""
    return b"".join([attribute(name, value) for name, value in values.items() if value != ""])


# Most repeat: callers, models, policies, and figures that are zero. A flag and a number are not the same key.
@lru_cache(_ATTRIBUTES_MAX, typed=True)
def attribute(name: str, value: Attribute) -> bytes:
    """Returns one attribute of a span."""
    if isinstance(value, str):
        return uncached_text(name, value)
    if isinstance(value, bool):
        return _pair(_name(name), _BOOL + varint(value))
    if isinstance(value, int):
        # A negative number has the ten bytes of its 64-bit complement.
        return _pair(_name(name), _INT + varint(value & 0xFFFF_FFFF_FFFF_FFFF))
    if isinstance(value, float):
        return _pair(_name(name), _DOUBLE.pack(_DOUBLE_TAG, value))
    listed = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=each) for each in value]))
    return _pair(_name(name), listed.SerializeToString())


def uncached_text(name: str, value: str) -> bytes:
    """Returns an attribute whose text never repeats."""
    return _pair(_name(name), _sized(_STRING, value))


@lru_cache
def _name(name: str) -> bytes:
    return _sized(_KEY, name)


def _pair(name: bytes, value: bytes) -> bytes:
    value = _VALUE + varint(len(value)) + value
    return _ATTRIBUTE + varint(len(name) + len(value)) + name + value


def _sized(tag: bytes, text: str) -> bytes:
    encoded = text.encode()
    return tag + varint(len(encoded)) + encoded


def export_request(spans: Iterable[tuple[str, list[bytes]]]) -> bytes:
    """Returns an ExportTraceServiceRequest with the spans of each service."""
    resources, scopes = (ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, ResourceSpans.SCOPE_SPANS_FIELD_NUMBER)
    return b"".join(
        length_delimited(
            resources,
            _resource(service)
            + length_delimited(
                scopes, _scope() + b"".join(length_delimited(ScopeSpans.SPANS_FIELD_NUMBER, each) for each in made)
            ),
        )
        for service, made in spans
        if made
    )


@lru_cache
def _resource(service: str) -> bytes:
    """The resource of a service, with the attributes that the environment gives to all (OTEL_RESOURCE_ATTRIBUTES)."""
    # Imported here, because it loads OpenTelemetry's SDK, and without a receiver nobody needs it.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    known = Resource.create({"service.name": service}).attributes
    message = resource_pb2.Resource(
        attributes=[KeyValue(key=name, value=AnyValue(string_value=str(value))) for name, value in known.items()]
    )
    return length_delimited(ResourceSpans.RESOURCE_FIELD_NUMBER, message.SerializeToString())


@lru_cache
def _scope() -> bytes:
    return length_delimited(ScopeSpans.SCOPE_FIELD_NUMBER, _SCOPE.SerializeToString())
