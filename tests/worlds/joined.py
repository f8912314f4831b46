"""Lines of the spool with the texts in them, as one object."""

from __future__ import annotations

from typing import Any, cast

from services.chassis.line_text import read_line_text


def joined(fields: dict[str, Any], *texts: str) -> dict[str, Any]:
    """The fields, with the members of the JSON objects in some of them in their place."""
    members: dict[str, Any] = {}
    for name in texts:
        members |= cast("dict[str, Any]", read_line_text(fields.get(name, "{}")))
    return members | {name: value for name, value in fields.items() if name not in texts}
