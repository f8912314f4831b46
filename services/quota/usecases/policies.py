"""Lists the policies, the state of each, and how many calls matched it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from services.quota.domain.policies.lint import PolicyState, state_of
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.usecases.live import Live


class PolicyMatches:
    """Counts the calls that each policy matched since this process started. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._last_ms: dict[str, int] = {}

    def note(self, policies: Iterable[str], now_ms: int) -> None:
        """Counts one call."""
        with self._lock:
            for name in policies:
                self._counts[name] = self._counts.get(name, 0) + 1
                self._last_ms[name] = now_ms

    def of(self, policy: str) -> tuple[int, int | None]:
        """The number of calls that a policy matched, and the time of the last one; None: no call yet."""
        with self._lock:
            return self._counts.get(policy, 0), self._last_ms.get(policy)


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """A policy with its state and its matches."""

    policy: QuotaPolicy
    state: PolicyState
    matched: int
    """The matching calls since this process started, including refused ones."""
    last_matched_ms: int | None


class ListPolicies:
    """Lists policies with their states."""

    def __init__(self, live: Live, matches: PolicyMatches) -> None:
        self._live = live
        self._matches = matches

    def __call__(self) -> list[QuotaPolicy]:
        """All policies, by name."""
        return sorted(self._live.snapshot.directory.directory.policies, key=lambda policy: policy.name)

    def described(self, policies: Iterable[QuotaPolicy]) -> list[ListedPolicy]:
        """These policies with their states, in the same order."""
        snapshot = self._live.snapshot
        keys, models = snapshot.directory.directory.keys, snapshot.routes.plan.models
        return [
            ListedPolicy(policy, state_of(policy, keys, models), *self._matches.of(policy.name)) for policy in policies
        ]
