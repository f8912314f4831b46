"""Overrides: bounds that hold in the place of a limit's own for a while. They end by the clock, with no job."""

from __future__ import annotations

from dataclasses import dataclass

OverrideTarget = tuple[str, str, str]
"""Policy, id of its limit, and scope: what an override is for. There is one in each place at most."""


@dataclass(frozen=True, slots=True)
class Override:
    """One override."""

    name: str
    """Sorts by time."""
    policy: str
    limit_id: str
    scope: str
    bound: int
    """Inclusive. Nano-USD for spend, else tokens or requests. 0 blocks."""
    create_at_ms: int
    expire_at_ms: int
    reason: str
    actor: str
    """Who granted it, and in what role."""
    role: str

    @property
    def place(self) -> OverrideTarget:
        """What it is for."""
        return self.policy, self.limit_id, self.scope

    def holds_at(self, now_ms: int) -> bool:
        """Whether it is in force at this moment."""
        return now_ms < self.expire_at_ms
