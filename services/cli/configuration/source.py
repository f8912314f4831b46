"""Reads YAML into plain values and remembers their positions.

The YAML library converts no scalars. A number stays the written text (`Number`), because money may not pass through
binary floating point. Only `true`, `false` and `null` are recognized by their spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 4 * 1024 * 1024
# Aliases can make a small file mean a huge one.
MAX_VALUES = 200_000
MAX_DEPTH = 40

_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.[\d_]+)?")
# The tags that plain values resolve to. Here only their text decides their meaning.
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge")
)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written in the file, for example "50_000" or "2.50"."""

    text: str


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file. Both numbers start at 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file."""

    file: str
    position: Position
    path: Path
    text: str

    def __str__(self) -> str:
        """Formats it as compilers do, so that editors can jump there."""
        place = f"{self.file}:{self.position.line}:{self.position.column}"
        return f"{place}: {format_path(self.path)}: {self.text}" if self.path else f"{place}: {self.text}"


class ConfigurationError(Exception):
    """The file has one or more mistakes."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(slots=True)
class Source:
    """A file's values and their positions."""

    file: str
    value: object = None
    positions: dict[Path, Position] = field(default_factory=dict)
    """The position of each value. For an entry of a mapping: of its key."""
    problems: list[Problem] = field(default_factory=list)

    def position_of(self, path: Path) -> Position:
        """Returns the position of `path`, or of the nearest enclosing value that has one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions:
                return self.positions[path[:length]]
        return Position(1, 1)

    def problem(self, path: Path, text: str) -> Problem:
        """Returns a mistake at `path`."""
        return Problem(self.file, self.position_of(path), path, text)


def read_source(file: str, text: str) -> Source:
    """Reads one YAML document.

    Raises:
        ConfigurationError: it is not YAML, or uses features that a configuration does not need.
    """
    source = Source(file)
    if len(text.encode()) > MAX_BYTES:
        raise ConfigurationError([source.problem((), f"the file is larger than {MAX_BYTES // 1024 // 1024} MB")])
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigurationError([_syntax_problem(file, error)]) from error
    except YAMLError as error:
        raise ConfigurationError([source.problem((), f"not YAML: {error}")]) from error
    if root is None:
        raise ConfigurationError([source.problem((), "the file is empty: `spendgate init` writes a starting file")])
    source.value = _Reader(source).read(root, ())
    if source.problems:
        raise ConfigurationError(source.problems)
    return source


def format_path(path: Path) -> str:
    """Formats a path as the services do, for example "policies[2].limits[0].per"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _syntax_problem(file: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    return Problem(file, position, (), f"not YAML: {error.problem or error.context}")


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._values = 0

    def read(self, node: Node, path: Path) -> object:
        self._source.positions.setdefault(path, _position(node))
        self._values += 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            raise ConfigurationError([self._source.problem(path, "the file nests or repeats too much")])
        if str(node.tag) not in _PLAIN_TAGS:
            self._source.problems.append(self._source.problem(path, f"remove the tag {str(node.tag)!r}"))
        if isinstance(node, MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, SequenceNode):
            return tuple(self.read(item, (*path, index)) for index, item in enumerate(node.value))
        return _scalar(node) if isinstance(node, ScalarNode) else None

    def _entries(self, node: MappingNode, path: Path) -> Iterator[tuple[str, object]]:
        seen: dict[str, Position] = {}
        for key_node, value_node in node.value:
            position = _position(key_node)
            if not isinstance(key_node, ScalarNode):
                text = "a name must be text"
                self._source.problems.append(Problem(self._source.file, position, path, text))
                continue
            key = str(key_node.value)
            if key in seen:
                text = f"is given twice; the first time in line {seen[key].line}"
                self._source.problems.append(Problem(self._source.file, position, (*path, key), text))
                continue
            seen[key] = position
            self._source.positions[(*path, key)] = position
            yield key, self.read(value_node, (*path, key))


def _scalar(node: ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return Number(text) if _NUMBER.fullmatch(text) else text


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
