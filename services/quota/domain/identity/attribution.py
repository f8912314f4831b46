"""The key, team, project, environment and user that a call is attributed to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attribution:
    """The attribution of a call. It comes from the key, never from a header. A field is empty if the key has none."""

    key_id: str
    key: str
    team: str = ""
    project: str = ""
    environment: str = ""
    user: str = ""
