"""The model that a client means. Clients write names of their vendor, which the configuration need not repeat."""

from __future__ import annotations

import re

from services.quota.domain.routing.plan import PlanSnapshot

# "claude-haiku-4-5-20251001", "gpt-4o-2024-08-06", "claude-opus-4-1@20250805", "claude-3-5-haiku-latest".
_RELEASE = re.compile(r"(?:[-@]20[0-9]{6}|-20[0-9]{2}-[0-9]{2}-[0-9]{2}|-latest)\Z")
# Claude Code writes the size of the context window behind the name.
_WINDOW = "[1m]"


def find_model(plan: PlanSnapshot, name: str) -> str:
    """The model that `name` reaches: by its own name, by an alias, or by either with a release or a window behind it.

    If it reaches none, `name` itself.
    """
    if name in plan.models:
        return name
    short = name.removesuffix(_WINDOW)
    for candidate in (name, short, _RELEASE.sub("", short)):
        found = candidate if candidate in plan.models else plan.aliases.get(candidate)
        if found is not None:
            return found
    return name
