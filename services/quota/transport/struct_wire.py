"""Writes entries of a `google.protobuf.Struct` as bytes.

Protobuf parsers merge a message field that occurs twice, so we can append entries to a message that was serialised
earlier. An answer to Envoy is thus a constant part and the few values that differ from call to call.
"""

from __future__ import annotations

from functools import partial

from services.chassis.protobuf_wire import TextPlace, varint

# The tags of Struct.fields, of the key and value of its entries, and of a Value that is a string.
_FIELDS = b"\x0a"
_KEY = b"\x0a"
_VALUE = b"\x12"
_STRING = b"\x1a"


def string_place(key: str) -> TextPlace:
    """Writes entries with this key whose values are strings."""
    return TextPlace(partial(_string_entry, key))


def _string_entry(key: str, encoded: bytes) -> bytes:
    return _entry(key, _STRING + varint(len(encoded)) + encoded)


def _entry(key: str, value: bytes) -> bytes:
    encoded_key = key.encode()
    entry = _KEY + varint(len(encoded_key)) + encoded_key + _VALUE + varint(len(value)) + value
    return _FIELDS + varint(len(entry)) + entry
