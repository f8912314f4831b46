"""A figure and how far it moved between rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

CELLS = "Cells show the median of all rounds, and in brackets the lowest and the highest."


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of all rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float
    rounds: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of one value for each round. Without a round it is zero, over 0 rounds."""
        if not values:
            return Spread(0.0, 0.0, 0.0, 0)
        return Spread(median(values), min(values), max(values), len(values))

    @property
    def factor(self) -> float:
        """The highest as a multiple of the lowest; 1 for a single round."""
        return self.high / self.low if self.low > 0 else 1.0

    def text(self, digits: int = 0, unit: str = "") -> str:
        """`9.1x (8.4 to 10.3)`. A single round has no spread, and says only its value."""
        if not self.rounds:
            return "-"
        middle = f"{self.median:,.{digits}f}{unit}"
        return middle if self.rounds == 1 else f"{middle} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def ratios(values: Sequence[float], bases: Sequence[float]) -> list[float]:
    """Each round's value as a multiple of the same round's base. What slows a whole round cancels out."""
    return [value / base for value, base in zip(values, bases, strict=True) if base > 0]


def differences(values: Sequence[float], bases: Sequence[float]) -> list[float]:
    """Each round's value less the same round's base."""
    return [value - base for value, base in zip(values, bases, strict=True)]
