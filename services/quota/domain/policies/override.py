"""Overrides: bounds that replace a limit's own for a while. They expire by the clock, without a job."""

from __future__ import annotations

from dataclasses import dataclass

OverrideTarget = tuple[str, str, str]
"""The policy, limit id and scope that an override is for. Each target has at most one override."""


@dataclass(frozen=True, slots=True)
class Override:
    """A bound that replaces a limit's own, for one scope, until it expires."""

    name: str
    """A unique name; names sort by time."""
    policy: str
    limit_id: str
    scope: str
    bound: int
    """Inclusive. In nano-USD for spend, else in tokens or requests. 0 blocks all calls."""
    create_at_ms: int
    expire_at_ms: int
    reason: str
    actor: str
    """Who granted the override; `role` is that actor's role."""
    role: str

    @property
    def place(self) -> OverrideTarget:
        """The limit and scope that the override is for."""
        return self.policy, self.limit_id, self.scope

    def holds_at(self, now_ms: int) -> bool:
        """Whether the override is in force at this moment."""
        return now_ms < self.expire_at_ms
