"""Targets that an operator took out of every chain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DrainedTarget:
    """A target that takes no call until an operator lets it in again."""

    name: str
    """"provider/model"."""
    since_ms: int
