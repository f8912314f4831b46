"""JSON objects within a line of the spool, as texts (ADR 0033).

Envoy writes a text into a line about ten times faster if nothing in it needs an escape. So each `"` of the object is
written as `'`, and each `'` as `"`. This loses nothing, whatever the object holds, and reading it is the same exchange.
"""

from __future__ import annotations

import orjson

_EXCHANGED = bytes.maketrans(b"\"'", b"'\"")


def write_line_text(members: str) -> str:
    """The text for the JSON object with these members, which are joined by commas."""
    return f"{{{members}}}".encode().translate(_EXCHANGED).decode()


def read_line_text(text: str) -> object:
    """The value of a text. Also reads JSON as it is, in which the previous release wrote its texts.

    Raises:
        orjson.JSONDecodeError: the text is neither.
    """
    encoded = text.encode()
    return orjson.loads(encoded.translate(_EXCHANGED) if encoded.startswith(b"{'") else encoded)
