"""Writes headers for the client's answer as bytes of an ext_authz `OkHttpResponse`.

We append them to an answer that was serialised earlier. Parsers merge the two, as with metadata in `struct_wire`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from services.chassis.protobuf_wire import length_delimited, varint

_OK_RESPONSE = external_auth_pb2.CheckResponse.OK_RESPONSE_FIELD_NUMBER
_TO_CLIENT = external_auth_pb2.OkHttpResponse.RESPONSE_HEADERS_TO_ADD_FIELD_NUMBER
_HEADER = base_pb2.HeaderValueOption.HEADER_FIELD_NUMBER
_NAME = base_pb2.HeaderValue.KEY_FIELD_NUMBER
_VALUE = base_pb2.HeaderValue.VALUE_FIELD_NUMBER
# Overwrites, so that no header of the provider survives under the same name.
_OVERWRITE = varint(base_pb2.HeaderValueOption.APPEND_ACTION_FIELD_NUMBER << 3) + varint(
    base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
)
# Most values repeat from call to call: names of policies, bounds, ends of windows.
_REMEMBERED_HEADERS = 16_384


def headers_to_client(headers: Iterable[tuple[str, str]]) -> bytes:
    """The field of a CheckResponse that sets these headers on the answer."""
    return length_delimited(_OK_RESPONSE, b"".join([_remembered(name, value) for name, value in headers]))


def header_to_client(name: str, value: str) -> bytes:
    """The same for one header whose value never repeats."""
    return length_delimited(_OK_RESPONSE, _header(name, value))


def _header(name: str, value: str) -> bytes:
    header = length_delimited(_NAME, name.encode()) + length_delimited(_VALUE, value.encode())
    return length_delimited(_TO_CLIENT, length_delimited(_HEADER, header) + _OVERWRITE)


_remembered = lru_cache(maxsize=_REMEMBERED_HEADERS)(_header)
