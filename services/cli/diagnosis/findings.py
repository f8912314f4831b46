"""One line of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Severity."""

    OK = "ok"
    WARN = "warn"
    """It works, but something is missing or will go wrong."""
    FAIL = "fail"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check, its result, and what to do about it."""

    name: str
    level: Level
    text: str
    remedy: str = ""

    def as_json(self) -> dict[str, str | None]:
        """Returns a finding of `doctor --json`."""
        return {"name": self.name, "level": self.level.value, "text": self.text, "remedy": self.remedy or None}
