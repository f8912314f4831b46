"""Writes entries of a `google.protobuf.Struct` as bytes.

Protobuf parsers merge a message field that occurs twice, so we can append entries to a message that was serialised
earlier. An answer to Envoy is thus a constant part and the few values that differ from call to call.
"""

from __future__ import annotations

import struct

from services.chassis.protobuf_wire import varint

# The tags of Struct.fields, of the key and value of its entries, and of the kinds of Value.
_FIELDS = b"\x0a"
_KEY = b"\x0a"
_VALUE = b"\x12"
_NUMBER = b"\x11"
_STRING = b"\x1a"
_DOUBLE = struct.Struct("<d")


def string_entry(key: str, text: str) -> bytes:
    """One entry whose value is a string."""
    encoded = text.encode()
    return _entry(key, _STRING + varint(len(encoded)) + encoded)


class NumberEntry:
    """Writes entries with this key whose value is a number. It is exact up to 2^53, like every number in a Struct."""

    __slots__ = ("_head",)

    def __init__(self, key: str) -> None:
        """All but the last bytes are the same for each number."""
        last = _DOUBLE.size
        self._head = _entry(key, _NUMBER + bytes(last))[:-last]

    def __call__(self, number: int) -> bytes:
        """One entry."""
        return self._head + _DOUBLE.pack(number)


def _entry(key: str, value: bytes) -> bytes:
    encoded_key = key.encode()
    entry = _KEY + varint(len(encoded_key)) + encoded_key + _VALUE + varint(len(value)) + value
    return _FIELDS + varint(len(entry)) + entry
