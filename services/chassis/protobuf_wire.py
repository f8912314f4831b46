"""Encodes parts of protobuf messages by hand, where a message of the library costs too much.

Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Callable

_LENGTH_DELIMITED = 2
_ONE_BYTE = tuple(bytes((length,)) for length in range(128))
_TWO_BYTES = 1 << 14
_REMEMBERED_LENGTHS = 1_024


def varint(number: int) -> bytes:
    """A non-negative number, seven bits per byte, lowest bits first."""
    if number < 128:
        return _ONE_BYTE[number]
    if number < _TWO_BYTES:
        return bytes((number & 0x7F | 0x80, number >> 7))
    encoded = bytearray()
    while number >= 128:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def length_delimited(field_number: int, payload: bytes) -> bytes:
    """`payload` as the message or string field with this number."""
    length = len(payload)
    tag = field_number << 3 | _LENGTH_DELIMITED
    return (
        (_ONE_BYTE[tag] if tag < 128 else varint(tag))
        + (_ONE_BYTE[length] if length < 128 else varint(length))
        + payload
    )


class TextPlace:
    """A place in a message that always holds a text, with everything around the text.

    The bytes before a text depend only on its length. We remember them, so writing a text only joins bytes.
    """

    __slots__ = ("_after", "_before", "_write")

    def __init__(self, write: Callable[[bytes], bytes], after: bytes = b"") -> None:
        """`write` writes an encoded text with everything around it, and `after` is what follows the text."""
        self._write = write
        self._after = after
        self._before: dict[int, bytes] = {}

    def __call__(self, text: str) -> bytes:
        """The text in its place."""
        encoded = text.encode()
        try:
            return self._before[len(encoded)] + encoded + self._after
        except KeyError:
            return self._remember(len(encoded)) + encoded + self._after

    def _remember(self, length: int) -> bytes:
        whole = self._write(bytes(length))
        before = whole[: len(whole) - length - len(self._after)]
        if length < _REMEMBERED_LENGTHS:
            self._before[length] = before
        return before
