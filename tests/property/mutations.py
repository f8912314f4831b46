"""Bodies of requests, changed at random where it may hurt: names, places, spellings, bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

TEXT = "all of this is text. " * 100
"""2,100 bytes: more than any request holds on top of what it asks for."""
_MANY = "16000"
_ADDRESS = '"https://example.com/long"'
_NAMES = (
    "max_tokens", "max_completion_tokens", "n", "model", "messages", "content", "type", "text", "image_url", "url",
    "input_audio", "data", "file", "file_data", "tools", "function", "parameters", "arguments", "system", "source",
    "media_type", "input", "input_schema", "tool_use", "cache_control", "ttl", "thinking", "budget_tokens", "contents",
    "parts", "inlineData", "inline_data", "mimeType", "mime_type", "fileData", "functionCall", "args",
    "functionResponse", "response", "generationConfig", "generation_config", "maxOutputTokens", "max_output_tokens",
    "candidateCount", "candidate_count", "systemInstruction", "system_instruction", "stream", "stream_options",
    "cachedContent", "response_format", "responseSchema", "role", "tool_calls", "name", "video_url",
    "document_url", "n_predict",
    "best_of", "prediction", "documents", "web_search_options", "mcp_servers", "container", "googleSearch",
)  # fmt: skip
_SCALARS = (
    "null", "true", "false", "0", "-1", "1", "7", _MANY, "1e3", "1.6e4", "16000.0", '"16000"', "99999999999999999999",
    "1e400", "-0", "0.5", "NaN", "[]", "{}", '""', _ADDRESS, json.dumps(TEXT),
    json.dumps(f"data:image/png;base64,{TEXT}"), json.dumps(f"data:text/plain,{TEXT}"), json.dumps(f"data:{TEXT}"),
    '"image/png"', '"text/plain"', '"base64"', '"text"',
    '"image_url"', '"video_url"', '"image"', '"document"', '"tool_use"', '"tool_result"', '"file"', '"input_audio"',
    '"1h"', '"ephemeral"', '"url"', '"\\ud83d"', '"\\u0000"', "1e20", "[1e20,1e20,1e20,1e20,1e20,1e20,1e20,1e20]",
)  # fmt: skip
_FOLDS = (
    str.upper,
    str.title,
    str.swapcase,
    lambda name: name.replace("k", "\u212a"),
    lambda name: name.replace("s", "\u017f"),
)
_BYTES = (
    b"\xff",
    b"\xc0\xa2",
    b"\xed\xa0\x80",
    b"\x80",
    b"\xe2\x84",
    b"\0",
    b"\\",
    b'"',
    b"{",
    b"}",
    b",",
    b"\xef\xbb\xbf",
)


@dataclass
class Node:
    """A value: an object (`members`), an array (`items`), or a scalar as it is spelt."""

    kind: str
    spelling: str = ""
    members: list[tuple[str, Node]] = field(default_factory=list)
    """With names as they are spelt, without quotes."""
    items: list[Node] = field(default_factory=list)

    def written(self) -> str:
        """JSON, or nearly."""
        if self.kind == "object":
            return "{" + ",".join(f'"{name}":{value.written()}' for name, value in self.members) + "}"
        if self.kind == "array":
            return "[" + ",".join(item.written() for item in self.items) + "]"
        return self.spelling

    def within(self) -> Iterator[Node]:
        """This value and all inside of it."""
        yield self
        for child in (*(value for _, value in self.members), *self.items):
            yield from child.within()


def parsed(text: str) -> Node:
    """A value of a well-formed text."""
    return _node(json.loads(text, object_pairs_hook=_Pairs, parse_float=_Number, parse_int=_Number))


class _Pairs(list[tuple[str, Any]]):
    """An object."""


class _Number(str):
    """A number as it is spelt."""

    __slots__ = ()


def mutated(seed: str, draw: random.Random) -> bytes:
    """A body that was changed in a few places."""
    root = parsed(seed)
    for _ in range(draw.choice((1, 1, 2, 2, 3, 4))):
        draw.choice(_MUTATIONS)(root, draw)
    body = root.written().encode("utf-8", "surrogatepass")
    if draw.random() < 0.1:
        at = draw.randrange(len(body))
        body = body[:at] + draw.choice(_BYTES) + body[at + draw.randrange(2) :]
    return body


def _node(value: Any) -> Node:
    if isinstance(value, _Pairs):
        return Node("object", members=[(json.dumps(name)[1:-1], _node(item)) for name, item in value])
    if isinstance(value, list):
        return Node("array", items=[_node(item) for item in value])
    return Node("scalar", str(value) if isinstance(value, _Number) else json.dumps(value))


def _any_object(root: Node, draw: random.Random) -> Node:
    return draw.choice([node for node in root.within() if node.kind == "object"])


def _any_value(draw: random.Random) -> Node:
    text = draw.choice(_SCALARS)
    return parsed(text) if text[0] in "[{" else Node("scalar", text)


def _at(node: Node, draw: random.Random) -> int | None:
    return draw.randrange(len(node.members)) if node.members else None


def _repeat_a_member(root: Node, draw: random.Random) -> None:
    node = _any_object(root, draw)
    at = _at(node, draw)
    if at is not None:
        name, value = node.members[at]
        node.members.insert(draw.randrange(len(node.members) + 1), (name, draw.choice((value, _any_value(draw)))))


def _fold_a_name(root: Node, draw: random.Random) -> None:
    node = _any_object(root, draw)
    at = _at(node, draw)
    if at is not None:
        name, value = node.members[at]
        folded = (draw.choice(_FOLDS)(name), draw.choice((value, _any_value(draw))))
        if draw.random() < 0.5:
            node.members[at] = folded
        else:
            node.members.append(folded)


def _escape_a_name(root: Node, draw: random.Random) -> None:
    node = _any_object(root, draw)
    at = _at(node, draw)
    if at is not None and node.members[at][0].isalnum():
        name, value = node.members[at]
        letter = draw.randrange(len(name))
        node.members[at] = (f"{name[:letter]}\\u{ord(name[letter]):04x}{name[letter + 1 :]}", value)


def _rename(root: Node, draw: random.Random) -> None:
    node = _any_object(root, draw)
    at = _at(node, draw)
    if at is not None:
        node.members[at] = (draw.choice(_NAMES), node.members[at][1])


def _add_a_member(root: Node, draw: random.Random) -> None:
    node = _any_object(root, draw)
    node.members.insert(draw.randrange(len(node.members) + 1), (draw.choice(_NAMES), _any_value(draw)))


def _replace_a_value(root: Node, draw: random.Random) -> None:
    _become(draw.choice(list(root.within())[1:] or [root]), _any_value(draw))


def _copy_to_another_place(root: Node, draw: random.Random) -> None:
    nodes = list(root.within())
    copied = copy.deepcopy(draw.choice(nodes[1:])) if len(nodes) > 1 else Node("scalar", "1")
    node = draw.choice([each for each in nodes if each.kind != "scalar"])
    if node.kind == "array":
        node.items.append(copied)
    else:
        node.members.append((draw.choice(_NAMES), copied))


def _swap(root: Node, draw: random.Random) -> None:
    nodes = list(root.within())[1:]
    if len(nodes) > 1:
        one, other = draw.sample(nodes, 2)
        kept = copy.deepcopy(one)
        _become(one, copy.deepcopy(other))
        _become(other, kept)


def _wrap(root: Node, draw: random.Random) -> None:
    node = draw.choice(list(root.within())[1:] or [root])
    inner = Node(node.kind, node.spelling, node.members, node.items)
    if draw.random() < 0.5:
        _become(node, Node("array", items=[inner]))
    else:
        _become(node, Node("object", members=[(draw.choice(_NAMES), inner)]))


def _drop_a_member(root: Node, draw: random.Random) -> None:
    node = _any_object(root, draw)
    at = _at(node, draw)
    if at is not None:
        del node.members[at]


def _become(node: Node, other: Node) -> None:
    node.kind, node.spelling, node.members, node.items = other.kind, other.spelling, other.members, other.items


_MUTATIONS: tuple[Callable[[Node, random.Random], None], ...] = (
    _repeat_a_member, _fold_a_name, _escape_a_name, _rename, _add_a_member, _add_a_member, _replace_a_value,
    _replace_a_value, _copy_to_another_place, _swap, _wrap, _drop_a_member,
)  # fmt: skip
