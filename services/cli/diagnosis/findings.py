"""One line of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """Works, but something is missing or will go wrong."""
    FAIL = "fail"
    """Does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do about it."""

    name: str
    level: Level
    text: str
    remedy: str = ""

    def as_json(self) -> dict[str, str | None]:
        """As `doctor --json` has it."""
        return {"name": self.name, "level": self.level.value, "text": self.text, "remedy": self.remedy or None}
