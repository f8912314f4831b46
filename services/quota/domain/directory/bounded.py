"""Whether anything bounds what a key can take: none is unlimited by accident.

A policy binds a call if it is enforced, matches, and has a limit on spend, tokens, input tokens or requests over a
period of time (`Limit.bounds`). A call that no policy binds is refused, unless its key says that it is unlimited. A key
of which no call could pass is refused before it is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from services.kernel.errors import InvalidInput, PermissionDenied
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.access import Role
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.index import PolicyIndex
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.policies.scope import policies_for

_ANY_MODEL = ""
"""A model that no policy names. What binds it binds every model."""


_MOST_NAMED = 5


def refuse_unbounded(key: VirtualKey, limits: AppliedLimits, model: str) -> Deny | None:
    """The refusal of a call that nothing bounds; None: something does, or its key is to be without limits."""
    if limits.bounded or key.unlimited:
        return None
    detail = "no enforced policy bounds what such calls can take; add one that matches, or mark the key as unlimited"
    return Deny(Denial.UNBOUNDED_KEY, detail, model=model, key=key.name)


class Bounds:
    """What the policies of a directory bind, while these are all the models that there are."""

    def __init__(self, directory: Directory, models: Collection[str]) -> None:
        self._directory = directory
        self._models = sorted(models)
        self._index = PolicyIndex(directory.policies)

    def is_unbounded(self, key: VirtualKey) -> bool:
        """Whether each of its calls is refused because nothing bounds it."""
        return not key.unlimited and len(self._free(key)) == len(self._usable(key))

    def check(self, field: str, key: VirtualKey) -> None:
        """Passes a key that can be used.

        Raises:
            InvalidInput: none of its calls would pass; the text says what to add.
        """
        if self.is_unbounded(key):
            raise InvalidInput(field, f"virtual key {key.name}: {self._why(key)}")

    def check_within_team(self, field: str, key: VirtualKey) -> None:
        """Passes a key that an admin of its team may make: what the team is allowed bounds all of its calls.

        Where policies are for the team, each call must be bound by one of them, and by one on spend if some limit
        that. Otherwise a key of another environment, or of none, would get past them to the default policies. A team
        for which there is no policy lives by those that are for everybody.

        Raises:
            PermissionDenied: it is not within what the team is allowed.
        """
        if key.unlimited:
            raise PermissionDenied(f"{field}.unlimited: only the {Role.PLATFORM} role lets a key work without limits")
        allowed = self._allowed(key.attribution.team)
        usable = key.models or (*self._models, _ANY_MODEL)
        beyond = [
            model
            for model in usable
            if allowed and not any(policy in allowed for policy in self._binding(key.attribution, model))
        ]
        if beyond:
            named = _listed([model for model in beyond if model])
            which = f" for {named}" if named and len(beyond) < len(usable) else ""
            raise PermissionDenied(
                f"virtual key {key.name} would get past the policies of team {key.attribution.team}: none of them "
                f"({_listed([policy.name for policy in allowed])}) binds its calls{which}. Give it an environment, "
                f"project, user or models that they name, or ask the {Role.PLATFORM} role for a policy"
            )

    def warnings(self) -> Iterator[str]:
        """Keys of which calls are refused since nothing bounds them, and such as say without need that nothing must."""
        for key in self._directory.keys:
            free = self._free(key)
            if key.unlimited:
                if not free:
                    policy = self._binding(key.attribution, self._usable(key)[0])[0]
                    yield (
                        f"Virtual key {key.name} says that it is unlimited, and policy {policy.name} binds it all the "
                        "same: leave that out, or change the policy."
                    )
            elif self.is_unbounded(key):
                yield f"Virtual key {key.name} cannot be used: {self._why(key)}."
            elif free:
                yield (
                    f"Virtual key {key.name} is refused for {_listed(free)}: no enforced policy bounds what its calls "
                    "for them take. Add one, or leave them out of its models."
                )

    def _usable(self, key: VirtualKey) -> Sequence[str]:
        return key.models or self._models or (_ANY_MODEL,)

    def _free(self, key: VirtualKey) -> list[str]:
        """The models with which no policy binds its calls."""
        if self._binding(key.attribution, _ANY_MODEL):
            return []
        return [model for model in self._usable(key) if not self._binding(key.attribution, model)]

    def _binding(self, who: Attribution, model: str) -> list[QuotaPolicy]:
        return [policy for policy, _ in policies_for(self._index.candidates(who, model), who, model) if policy.binds]

    def _allowed(self, team: str) -> list[QuotaPolicy]:
        """The policies that say what this team may take: of money, if some do."""
        found = [policy for policy in self._directory.policies if policy.binds and _is_for(policy, team)]
        return [policy for policy in found if any(_bounds_money(policy))] or found

    def _why(self, key: VirtualKey) -> str:
        known = ", ".join(self._directory.environment_names)
        where = "" if key.attribution.environment else f"give it an environment ({known}) that a policy is for, "
        return (
            "no enforced policy bounds what it can take, so its calls would be refused. Add a policy that matches it, "
            f"with a limit on spend, tokens or requests over a period of time, {where}or mark it `unlimited: true`"
        )


def _is_for(policy: QuotaPolicy, team: str) -> bool:
    """Whether a policy is for this team by itself, and no default."""
    return not policy.default and team == (policy.match.team or (team if policy.each is Dimension.TEAM else ""))


def _bounds_money(policy: QuotaPolicy) -> Iterator[bool]:
    return (limit.kind is LimitKind.SPEND and limit.bounds for limit in policy.limits)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
