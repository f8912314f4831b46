"""The directory of teams, keys, tokens, policies and overrides. Immutable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.key import RetiredSecret, VirtualKey
from services.quota.domain.identity.team import DEFAULT_ENVIRONMENTS, Environment, Team
from services.quota.domain.policies.override import Override
from services.quota.domain.policies.policy import QuotaPolicy


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that an administrator set, in the form in which it is stored."""

    organization: str = ""
    teams: tuple[Team, ...] = ()
    policies: tuple[QuotaPolicy, ...] = ()
    keys: tuple[VirtualKey, ...] = ()
    overrides: tuple[Override, ...] = ()
    tokens: tuple[AdminToken, ...] = ()
    environments: tuple[Environment, ...] = DEFAULT_ENVIRONMENTS
    retired: tuple[RetiredSecret, ...] = ()
    """The secrets that rotations retired, oldest first."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Recently renamed policies, each as (former name, new name). Their counters follow."""

    @property
    def environment_names(self) -> tuple[str, ...]:
        """The names of the environments."""
        return tuple(each.name for each in self.environments)

    def keys_of(self, team: str) -> list[str]:
        """The names of the keys of a team; of all keys if `team` is empty."""
        return [key.name for key in self.keys if team in {"", key.attribution.team}]


def without_expired(directory: Directory, now_ms: int) -> Directory:
    """The directory without expired overrides."""
    return replace(directory, overrides=tuple(each for each in directory.overrides if each.holds_at(now_ms)))


def version_of(policies: tuple[QuotaPolicy, ...]) -> str:
    """A fingerprint of policies. Two processes with the same version enforce the same policies."""
    return hashlib.sha256(repr(policies).encode()).hexdigest()[:16]
