"""Whom a call belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who a call belongs to. It comes from the key, never from a header. Empty: the key has none."""

    key_id: str
    key: str
    team: str = ""
    project: str = ""
    environment: str = ""
    user: str = ""
