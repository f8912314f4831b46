"""Lists the policies, the state of each, and how many calls matched it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from services.quota.domain.policies.lint import PolicyState, state_of
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.usecases.live import Live

# Keys with the same policies share an entry. With more different ones, the counts are added up at once.
_MOST_NEW = 1_024
_Matches = tuple[int, int]
"""How many calls, and the time of the last one."""


class PolicyMatches:
    """Counts the calls that each policy matched since this process started. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added: dict[str, _Matches] = {}
        """By policy."""
        self._new: dict[tuple[str, ...], _Matches] = {}
        """By the policies that matched together, not yet added to those."""

    def note(self, policies: tuple[str, ...], now_ms: int) -> None:
        """Counts one call."""
        with self._lock:
            before = self._new.get(policies)
            self._new[policies] = (1, now_ms) if before is None else (before[0] + 1, now_ms)
            if before is None and len(self._new) > _MOST_NEW:
                self._add()

    def of(self, policy: str) -> tuple[int, int | None]:
        """The number of calls that a policy matched, and the time of the last one; None: no call yet."""
        with self._lock:
            self._add()
            return self._added.get(policy, (0, None))

    def _add(self) -> None:
        for policies, (count, last_ms) in self._new.items():
            for name in policies:
                before, before_ms = self._added.get(name, (0, 0))
                self._added[name] = before + count, max(before_ms, last_ms)
        self._new.clear()


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
