"""Who there is and which limits apply to whom: an immutable picture of teams, keys and policies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.key import RetiredSecret, VirtualKey
from services.quota.domain.identity.team import DEFAULT_ENVIRONMENTS, Environment, Team
from services.quota.domain.policies.override import Override
from services.quota.domain.policies.policy import QuotaPolicy


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that an administrator set, as it is stored."""

    organization: str = ""
    teams: tuple[Team, ...] = ()
    policies: tuple[QuotaPolicy, ...] = ()
    keys: tuple[VirtualKey, ...] = ()
    overrides: tuple[Override, ...] = ()
    tokens: tuple[AdminToken, ...] = ()
    environments: tuple[Environment, ...] = DEFAULT_ENVIRONMENTS
    retired: tuple[RetiredSecret, ...] = ()
    """Secrets that rotations took out of use, the oldest first."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Policies that lately got another name, each as its name before and now: their counters follow."""

    @property
    def environment_names(self) -> tuple[str, ...]:
        """Names of the environments that there are."""
        return tuple(each.name for each in self.environments)

    def keys_of(self, team: str) -> list[str]:
        """Names of the keys of a team; of all keys if it is empty."""
        return [key.name for key in self.keys if team in {"", key.attribution.team}]


def without_expired(directory: Directory, now_ms: int) -> Directory:
    """The same without the overrides whose time is over."""
    return replace(directory, overrides=tuple(each for each in directory.overrides if each.holds_at(now_ms)))


@lru_cache(maxsize=4)
def version_of(policies: tuple[QuotaPolicy, ...]) -> str:
    """Tells whether two processes believe in the same policies."""
    return hashlib.sha256(repr(policies).encode()).hexdigest()[:16]
