"""Writes headers for the client's answer as bytes of an ext_authz `OkHttpResponse`.

We append them to an answer that was serialised earlier. Parsers merge the two, as with metadata in `struct_wire`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import partial

from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from services.chassis.protobuf_wire import TextPlace, length_delimited, varint

_OK_RESPONSE = external_auth_pb2.CheckResponse.OK_RESPONSE_FIELD_NUMBER
_TO_CLIENT = external_auth_pb2.OkHttpResponse.RESPONSE_HEADERS_TO_ADD_FIELD_NUMBER
_HEADER = base_pb2.HeaderValueOption.HEADER_FIELD_NUMBER
_NAME = base_pb2.HeaderValue.KEY_FIELD_NUMBER
_VALUE = base_pb2.HeaderValue.VALUE_FIELD_NUMBER
# Overwrites, so that no header of the provider survives under the same name.
_OVERWRITE = varint(base_pb2.HeaderValueOption.APPEND_ACTION_FIELD_NUMBER << 3) + varint(
    base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
)
_REMEMBERED_HEADERS = 4_096


class HeadersToClient:
    """Writes headers for clients, under names of ours. It remembers whole headers whose values repeat."""

    def __init__(self, never_repeat: Container[str]) -> None:
        """`never_repeat`: the names of headers that have a new value in nearly every answer."""
        self._never_repeat = never_repeat
        self._places: dict[str, TextPlace] = {}
        self._remembered: dict[tuple[str, str], bytes] = {}

    def __call__(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """The field of a CheckResponse that sets these headers on the answer."""
        known = self._remembered
        return length_delimited(
            _OK_RESPONSE, b"".join([known[header] if header in known else self._write(header) for header in headers])
        )

    def _write(self, header: tuple[str, str]) -> bytes:
        name, value = header
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = header_place(name)
        written = place(value)
        if name not in self._never_repeat:
            if len(self._remembered) >= _REMEMBERED_HEADERS:
                self._remembered.clear()
            self._remembered[header] = written
        return written


def header_place(name: str) -> TextPlace:
    """Writes headers of this name as fields of an `OkHttpResponse`."""
    return TextPlace(partial(_header, name.encode()), _OVERWRITE)


def ok_response(fields: bytes) -> bytes:
    """The field of a CheckResponse that has these fields of an `OkHttpResponse`."""
    return length_delimited(_OK_RESPONSE, fields)


def _header(name: bytes, value: bytes) -> bytes:
    header = length_delimited(_NAME, name) + length_delimited(_VALUE, value)
    return length_delimited(_TO_CLIENT, length_delimited(_HEADER, header) + _OVERWRITE)
