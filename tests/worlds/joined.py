"""Objects of JSON with texts of JSON in them, as one."""

from __future__ import annotations

import json
from typing import Any


def joined(fields: dict[str, Any], *texts: str) -> dict[str, Any]:
    """The fields, with the members of the JSON objects in some of them in their place."""
    members: dict[str, Any] = {}
    for name in texts:
        members |= json.loads(fields.get(name, "{}"))
    return members | {name: value for name, value in fields.items() if name not in texts}
