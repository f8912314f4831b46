"""Damages JSON, streams of events and bytes. Everything follows from the random numbers of one case."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

CANARY = "canary"
"""Stands in members and events that no dialect has. So a client that sees it got bytes of a provider's own making."""
_DEEP = 3_000
_DAMAGES = (1, 1, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Raw:
    """A text that takes the place of a value as it is, even if it is no JSON."""

    text: str


@dataclass(slots=True)
class Members:
    """An object whose names may repeat."""

    pairs: list[tuple[str, Any]]


_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, "", " ", "0", "null", [], {}, [None], [[]], [{}], {"": {}}, "é漢😀",
    "\u2028", "\x00",
    "x" * 20_000,
)  # fmt: skip
_TEXTS = (
    "1e999", "-1e999", "-0", "0.1e-400", "9" * 40, "18446744073709551616", "9007199254740993", "1E5", "1.0",
    "01", "+1", ".5", "1.", "0x10", "NaN", "Infinity", "-", "tru", "nul", "undefined", "'single'", "",
    r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', r'"\u00"', r'"\x41"', '"line\nbreak"', '"\x00"', '"open', '"\x7f"',
    "[" * _DEEP, "[" * _DEEP + "]" * _DEEP, '{"a":' * 200 + "1" + "}" * 200, "[" * 100 + "]" * 100,
    '{"a":1,}', "[1,]", "{,}", '{"a" 1}', '{"a"}', "/* no */ 1", "1 // no", "1 2",
)  # fmt: skip
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.upper, str.title, lambda name: name + " ", lambda name: "_" + name, lambda name: name + "\x00",
    lambda name: f"\\u{ord(name[0]):04x}" + name[1:] if name else "\\u0061",
)  # fmt: skip


def damaged(value: Any, random: Random) -> bytes:
    """The text of a JSON value with one to three damages."""
    tree = Box(copy.deepcopy(value))
    for _ in range(random.choice(_DAMAGES)):
        _damage(tree, random)
    text = encoded(tree.value)
    return damaged_bytes(text, random) if random.random() < 0.2 else text


@dataclass(slots=True)
class Box:
    """Holds the top of a tree, so that it has a place as all others have."""

    value: Any


def encoded(value: Any) -> bytes:
    """Writes a tree with its raw texts and repeated names."""
    return _write(value).encode("utf-8", "surrogatepass")


def damaged_bytes(text: bytes, random: Random) -> bytes:
    """Bytes with one to three damages that know nothing of their meaning."""
    for _ in range(random.choice(_DAMAGES)):
        at = random.randint(0, len(text))
        size = random.choice((1, 1, 1, 2, 7, 60))
        kind = random.randrange(6)
        if kind == 0:
            text = text[:at] + text[at + size :]
        elif kind == 1:
            text = text[:at] + random.randbytes(size) + text[at:]
        elif kind == 2:
            text = text[:at] + random.randbytes(size) + text[at + size :]
        elif kind == 3:
            text = text[:at]
        elif kind == 4:
            text = text[:at] + text[at : at + size] * 3 + text[at + size :]
        else:
            text = text[:at] + random.choice(
                (b"\xef\xbb\xbf", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\", b'"', b"\r")
            )
    return text


def damaged_events(events: list[bytes], others: list[bytes], random: Random) -> list[bytes]:
    """A stream of events, each with its empty line, damaged as a whole or in one of them.

    `others` are events that do not belong there: errors, comments, events of the other dialects.
    """
    events = list(events)
    for _ in range(random.choice(_DAMAGES)):
        at = random.randrange(len(events) + 1) if events else 0
        kind = random.randrange(9)
        if kind == 0 and events:
            del events[min(at, len(events) - 1)]
        elif kind == 1 and events:
            events.insert(at, random.choice(events))
        elif kind == 2:
            random.shuffle(events)
        elif kind == 3:
            events.insert(at, random.choice(others))
        elif kind == 4:
            del events[at:]
        elif kind == 5 and events:
            at = min(at, len(events) - 1)
            events[at] = damaged_bytes(events[at], random)
        elif kind == 6:
            ending = random.choice((b"\r\n", b"\r", b"\n\r\n", b" \n"))
            events = [event.replace(b"\n", ending) for event in events]
        elif events:
            at = min(at, len(events) - 1)
            events[at] = _damaged_event(events[at], random)
    return events


def split(text: bytes, random: Random) -> tuple[bytes, ...]:
    """The same bytes in pieces: one, a few, or very many."""
    most = random.choice((0, 0, 1, 3, 10, min(len(text), 80)))
    points = sorted({random.randrange(1, len(text)) for _ in range(most)}) if len(text) > 1 else []
    return tuple(
        text[first:last] for first, last in zip([0, *points], [*points, len(text)], strict=True) if first < last
    )


def _damaged_event(event: bytes, random: Random) -> bytes:
    """One event whose JSON is damaged; one of several lines at times."""
    lines = event.split(b"\n")
    for number, line in enumerate(lines):
        if not line.startswith(b"data: {"):
            continue
        try:
            text = damaged(json.loads(line[6:]), random)
        except (ValueError, RecursionError):
            # It is damaged already.
            text = damaged_bytes(line[6:], random)
        if random.random() < 0.2:
            text = text.replace(b",", b",\ndata: ", 1)
        lines[number] = b"data: " + text
    return b"\n".join(lines)


def _places(node: Any) -> list[tuple[Any, Any]]:
    """All places of a tree: what holds a value, and where in it."""
    found: list[tuple[Any, Any]] = []
    if isinstance(node, Box):
        found.append((node, None))
        found += _places(node.value)
    elif isinstance(node, dict):
        for name, value in node.items():
            found.append((node, name))
            found += _places(value)
    elif isinstance(node, list):
        for at, value in enumerate(node):
            found.append((node, at))
            found += _places(value)
    return found


def _at(holder: Any, where: Any) -> Any:
    return holder.value if isinstance(holder, Box) else holder[where]


def _put(holder: Any, where: Any, value: Any) -> None:
    if isinstance(holder, Box):
        holder.value = value
    else:
        holder[where] = value


def _damage(tree: Box, random: Random) -> None:
    places = _places(tree)
    # The top of a document is not damaged more often than any other place.
    holder, where = random.choice(places)
    value = _at(holder, where)
    kind = random.randrange(9)
    if kind == 0:
        _put(holder, where, copy.deepcopy(random.choice(_SCALARS)))
    elif kind == 1:
        _put(holder, where, Raw(random.choice(_TEXTS)))
    elif kind == 2 and not isinstance(holder, Box):
        del holder[where]
    elif kind == 3 and isinstance(value, dict):
        value[f"{CANARY}_member"] = random.choice((CANARY, {CANARY: CANARY}, [CANARY], 1))
    elif kind == 4 and isinstance(value, dict) and value:
        name = random.choice(list(value))
        _put(holder, where, _repeated(value, name, random))
    elif kind == 5 and isinstance(value, dict) and value:
        name = random.choice(list(value))
        value[random.choice(_SPELLINGS)(name)] = value.pop(name)
    elif kind == 6 and isinstance(value, list):
        value.insert(random.randint(0, len(value)), copy.deepcopy(random.choice([*value, None, {}, CANARY])))
    elif kind == 7:
        # Another value of the same document: of the right form, perhaps, and at the wrong place.
        _put(holder, where, copy.deepcopy(_at(*random.choice(places))))
    else:
        _put(holder, where, [copy.deepcopy(value)] if random.random() < 0.5 else {"type": copy.deepcopy(value)})


def _repeated(value: dict[str, Any], name: str, random: Random) -> Members:
    pairs = list(value.items())
    pairs.insert(random.randint(0, len(pairs)), (name, copy.deepcopy(random.choice([*_SCALARS, value[name]]))))
    return Members(pairs)


def _write(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        value = Members(list(value.items()))
    if isinstance(value, Members):
        # A name may have an escape already.
        return "{" + ",".join(f'"{name}":{_write(inside)}' for name, inside in value.pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
