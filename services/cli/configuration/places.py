"""Locates a service's refusal in the file. The refusal names a field of the request, such as "keys[2].user"."""

from __future__ import annotations

import re

from services.cli.configuration.entries import ConfigurationFile
from services.cli.configuration.source import Path, Source

_REFUSAL = re.compile(r"([a-z][a-z_0-9.\[\]]*): (.+)", re.DOTALL)
# Fields of requests that have another name in the file.
_NAMES = {"time_zone": "timezone", "rolling_period": "rolling"}
_PART = re.compile(r"[a-z][a-z_0-9]*|\[(\d{1,9})\]")


def placed(file: ConfigurationFile, source: Source, refusal: str) -> str:
    """Formats a refusal as compilers do, with line and column if it names something in the file."""
    form = _REFUSAL.fullmatch(refusal)
    path = _path(file, form[1]) if form else ()
    if form is None or path[:2] not in source.positions:
        return f"{source.file}: {refusal}"
    return str(source.problem(path, form[2]))


def _path(file: ConfigurationFile, field: str) -> Path:
    """The file has a mapping where a service got a list in the same order."""
    path: list[str | int] = [
        int(part[1]) if part[1] else _NAMES.get(part[0], part[0]) for part in _PART.finditer(field)
    ]
    if path and (entries := getattr(file, str(path[0]), None)) and isinstance(entries, dict):
        names = list(entries)
        if len(path) > 1 and isinstance(path[1], int) and path[1] < len(names):
            path[1] = names[path[1]]
    return tuple(path)
