"""Reads a configuration file and reports all its mistakes at once."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.cli.configuration.entries import ConfigurationFile
from services.cli.configuration.references import find_dangling
from services.cli.configuration.source import (
    ConfigurationError,
    Number,
    Path,
    Position,
    Problem,
    Source,
    read_source,
)
from services.kernel.names import closest

_KEY_MARK = "[key]"
"""How pydantic marks that it means the name of an entry and not its value."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file that is consistent in itself."""

    file: ConfigurationFile
    source: Source
    folder: FilePath
    """Paths of secrets in the file are relative to this folder."""


def load_configuration(path: FilePath) -> Configuration:
    """Reads the file at `path`.

    Raises:
        ConfigurationError: it cannot be read, or has mistakes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([_unreadable(path, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([_unreadable(path, "is not UTF-8 text")]) from error
    return read_configuration(str(path), text, folder=path.absolute().parent)


def read_configuration(name: str, text: str, *, folder: FilePath) -> Configuration:
    """Reads a configuration from text. Errors call it `name`.

    Raises:
        ConfigurationError: it has mistakes.
    """
    source = read_source(name, text)
    try:
        file = ConfigurationFile.model_validate(source.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigurationError(_sorted(_problem(source, detail) for detail in details)) from error
    dangling = _sorted(source.problem(path, text) for path, text in find_dangling(file))
    if dangling:
        raise ConfigurationError(dangling)
    return Configuration(file, source, folder)


def _unreadable(path: FilePath, text: str) -> Problem:
    return Problem(str(path), Position(1, 1), (), text)


def _sorted(problems: Iterator[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.position.line, problem.position.column))


def _problem(source: Source, detail: ErrorDetails) -> Problem:
    path = tuple(part for part in detail["loc"] if part != _KEY_MARK)
    # The expansion of a target's shorthand is not in the file, so report the position of the shorthand.
    while path and path not in source.positions and detail["type"] != "missing":
        path = path[:-1]
    return source.problem(path, _text(path, detail))


def _text(path: Path, detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "value_error":
        return str(detail.get("ctx", {}).get("error", detail["msg"]))
    if kind == "extra_forbidden":
        known = _fields_at(path[:-1])
        close = closest(str(path[-1]), known)
        return f"unknown field{f': did you mean {close!r}?' if close else ';'} known here: {', '.join(known)}"
    if kind == "enum":
        expected = detail.get("ctx", {})["expected"]
        close = closest(str(detail["input"]), re.findall(r"'([^']*)'", expected))
        return f"{f'did you mean {close!r}? ' if close else ''}write {expected}"
    if kind == "missing":
        return "is missing"
    if kind == "string_type" and isinstance(detail["input"], Number):
        return f"write text: put {detail['input'].text} in quotes"
    return _EXPECTED.get(kind) or detail["msg"].replace("Input should be", "write")


_EXPECTED = {
    "string_type": "write text",
    "bool_type": "write true or false",
    "tuple_type": "write a list, like [a, b]",
    "dict_type": "write a mapping, like {name: ...}",
    "model_type": "write a mapping, like {field: value}",
    "model_attributes_type": "write a mapping, like {field: value}",
    "string_pattern_mismatch": "write an address like slack://... or mailto://...",
}


def _fields_at(path: Path) -> list[str]:
    """Returns the fields of the entry at `path`."""
    annotation: Any = ConfigurationFile
    for part in path:
        annotation = _inner(annotation, part)
    entry = _plain(annotation)
    return list(entry.model_fields) if isinstance(entry, type) and issubclass(entry, BaseModel) else []


def _inner(annotation: Any, part: str | int) -> Any:
    entry = _plain(annotation)
    if isinstance(entry, type) and issubclass(entry, BaseModel):
        return entry.model_fields[str(part)].annotation
    arguments = typing.get_args(entry)
    return arguments[0] if typing.get_origin(entry) is tuple else arguments[-1]


def _plain(annotation: Any) -> Any:
    """Strips `Annotated` and `| None`."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _plain(typing.get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return _plain(next(part for part in typing.get_args(annotation) if part is not types.NoneType))
    return annotation
