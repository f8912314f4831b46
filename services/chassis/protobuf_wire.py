"""Encodes parts of protobuf messages by hand, where a message of the library costs too much.

Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

_LENGTH_DELIMITED = 2
_ONE_BYTE = tuple(bytes((length,)) for length in range(128))


def varint(number: int) -> bytes:
    """A non-negative number, seven bits per byte, lowest bits first."""
    if number < 128:
        return _ONE_BYTE[number]
    encoded = bytearray()
    while number >= 128:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def length_delimited(field_number: int, payload: bytes) -> bytes:
    """`payload` as the message or string field with this number."""
    return varint(field_number << 3 | _LENGTH_DELIMITED) + varint(len(payload)) + payload
