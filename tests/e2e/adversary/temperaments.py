"""Servers that read the same bytes differently. Each is honest: it bills what it has read.

None of this knows how the gateway reads. Where a temperament refuses a body it raises `BadBodyError`: an answer with
400, for which nobody pays.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._:-]+)", re.IGNORECASE)
# Some decoders still take the two-byte form of an ASCII character for that character.
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]")
_FOLDED = str.maketrans(string.ascii_uppercase + "\u212a\u017f", string.ascii_lowercase + "ks")


class BadBodyError(Exception):
    """The server answers 400."""


class Temperament(StrEnum):
    """One way in which a server reads JSON."""

    GO = "go"
    """Like Go's encoding/json: names fold their case, as Unicode does it; the last of equal names wins."""
    NODE = "node"
    """Like JavaScript: exact names, the last of equal ones wins, a byte order mark is skipped, broken UTF-8 replaced.
    Numbers are written again in full where they are fed to a model."""
    PYTHON = "python"
    """Like Python's json: NaN and Infinity are numbers, UTF-16 and UTF-32 are noticed without anybody saying so."""
    FOLDING = "folding"
    """Heeds the charset of the content type, drops what it cannot decode, and takes overlong forms."""


class Members(dict[str, Any]):
    """An object as one temperament reads it."""

    def __init__(self, pairs: list[tuple[str, Any]], fold: Callable[[str], str]) -> None:
        super().__init__((fold(name), value) for name, value in pairs)
        self._fold = fold

    def at(self, *names: str) -> Any:
        """The value under any of these names; None when there is none, or null."""
        return next(iter(self.all_at(*names)), None)

    def all_at(self, *names: str) -> list[Any]:
        """The values under these names, but for nulls."""
        found = [self.get(folded) for folded in dict.fromkeys(map(self._fold, names))]
        return [value for value in found if value is not None]

    def besides(self, *names: str) -> Mapping[str, Any]:
        """The members under other names."""
        known = set(map(self._fold, names))
        return {name: value for name, value in self.items() if name not in known and value is not None}


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that keeps its spelling."""

    text: str


def read(body: bytes, content_type: str, temperament: Temperament) -> Members:
    """The body as this temperament reads it.

    Raises:
        BadBodyError: it cannot read it, or it is no object.
    """
    try:
        text = _decode(body, content_type, temperament)
        document = json.loads(
            text,
            object_pairs_hook=partial(Members, fold=_fold if temperament is Temperament.GO else str),
            parse_int=Literal,
            parse_float=Literal,
            parse_constant=Literal if temperament is Temperament.PYTHON else _refuse_constant,
        )
    except (ValueError, LookupError, RecursionError) as error:
        raise BadBodyError(str(error)) from error
    if not isinstance(document, Members):
        raise BadBodyError("not an object")
    return document


def feed(value: Any, temperament: Temperament) -> int:
    """Bytes of a value where it is fed to a model as text: one token each, in the worst of tokenizers."""
    if isinstance(value, str):
        return _width(value)
    if isinstance(value, Literal):
        return len(_in_full(value) if temperament is Temperament.NODE else value.text)
    if isinstance(value, dict):
        return 1 + sum(_width(name) + 4 + _quoted(item) + feed(item, temperament) for name, item in value.items())
    if isinstance(value, list):
        return 1 + sum(1 + _quoted(item) + feed(item, temperament) for item in value)
    return 4


def count(value: Any) -> int | None:
    """A number as a tolerant server takes it, whatever its spelling; None if the server ignores it."""
    spelling = value.text if isinstance(value, Literal) else value
    if isinstance(spelling, bool):
        return int(spelling)
    try:
        return int(float(spelling))
    except (TypeError, ValueError, OverflowError):
        return None


def _decode(body: bytes, content_type: str, temperament: Temperament) -> str:
    if temperament is Temperament.PYTHON:
        return body.decode(json.detect_encoding(body), "surrogatepass")
    if temperament is Temperament.NODE:
        return body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if temperament is Temperament.GO:
        return body.decode("utf-8", "replace")
    named = _CHARSET.findall(content_type)
    charset = named[-1] if named else "utf-8"
    if charset.lower().replace("_", "-") in {"utf-8", "utf8"}:
        body = _OVERLONG.sub(lambda found: bytes([(found[0][0] & 3) << 6 | found[0][1] & 0x3F]), body)
    return body.decode(charset, "ignore")


def _fold(name: str) -> str:
    """Go's folding, which also makes a k of the Kelvin sign and an s of the long s."""
    return name.translate(_FOLDED)


def _width(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _in_full(number: Literal) -> str:
    """As JavaScript writes it: without an exponent below 1e21."""
    value = float(number.text)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)


def _quoted(value: Any) -> int:
    return 2 if isinstance(value, str) else 0
