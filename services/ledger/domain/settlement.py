"""What the ledger tells quota of each booked call, and what quota tells of thresholds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one call took."""

    reservation: str
    cost_nano_usd: int | None
    """None when the price is unknown."""
    input_tokens: int
    output_tokens: int
    end_ms: int
    reported: bool
    """Whether the tokens are the provider's own count."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that a counter passed: once per policy, limit, scope, window and threshold."""

    sequence: int
    """Quota's own, ascending."""
    policy: str
    limit: str
    scope: str
    window_start_ms: int
    basis_points: int
    """8000 is 80 %."""
    notify: tuple[str, ...]
    crossed_ms: int
    settled: int
    """Nano-USD, tokens or requests."""
    bound: int
    """In the same unit."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A crossing and what became of telling it."""

    crossing: Crossing
    delivered_ms: int | None
