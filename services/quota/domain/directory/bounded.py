"""Checks that a policy bounds what a key can take, so that no key is unlimited by accident.

A policy binds a call if it is enforced, matches, and has a limit on spend, tokens, input tokens or requests over a
period of time (`Limit.bounds`). Quota refuses a call that no policy binds, unless its key is marked as unlimited. It
refuses to create a key if every call of it would be refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from services.kernel.change import Role
from services.kernel.errors import InvalidInput, PermissionDenied
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.index import PolicyIndex
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.policies.scope import policies_for

_ANY_MODEL = ""
"""Stands for a model that no policy names. A policy that binds it binds every model."""
_MOST_NAMED = 5


def refuse_unbounded(key: VirtualKey, limits: AppliedLimits, model: str) -> Deny | None:
    """The denial of a call that no policy bounds; None: a policy does, or its key is unlimited."""
    if limits.bounded or key.unlimited:
        return None
    detail = "no enforced policy bounds what such calls can take; add one that matches, or mark the key as unlimited"
    return Deny(Denial.UNBOUNDED_KEY, detail, model=model, key=key.name)


class Bounds:
    """Which calls the policies of a directory bind, given the models that exist."""

    def __init__(self, directory: Directory, models: Collection[str]) -> None:
        self._directory = directory
        self._models = sorted(models)
        self._index = PolicyIndex(directory.policies)
        self._named = {policy.match.key for policy in directory.policies}
        """The keys that policies name, which may be bound otherwise than keys like them."""
        self._free_of_alike: dict[tuple[str, str, str, str, tuple[str, ...]], list[str]] = {}

    def is_unbounded(self, key: VirtualKey) -> bool:
        """Whether quota refuses every call of the key because no policy binds it."""
        return not key.unlimited and len(self._free(key)) == len(self._usable(key))

    def check(self, field: str, key: VirtualKey) -> None:
        """Checks that some call of the key can pass.

        Raises:
            InvalidInput: no call would pass; the text says what to add.
        """
        if self.is_unbounded(key):
            raise InvalidInput(field, f"virtual key {key.name}: {self._why(key)}")

    def check_within_team(self, field: str, key: VirtualKey) -> None:
        """Checks that an admin of its team may create the key: the team's policies must bind all of its calls.

        If the team has policies of its own, one of them must bind each call; if some of them limit spend, one of those
        must. Otherwise a key of another environment, or of none, would get past them to the default policies. A team
        without policies of its own is bound by those for everybody.

        Raises:
            PermissionDenied: the team's policies do not bind some call of the key, or the key is unlimited.
        """
        if key.unlimited:
            raise PermissionDenied(
                f"{field}.unlimited: only the {Role.PLATFORM} role may let a key work without limits"
            )
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
        """Warns of keys with calls that no policy binds, and of keys marked as unlimited to no effect."""
        for key in self._directory.keys:
            free = self._free(key)
            if key.unlimited:
                if not free:
                    policy = self._binding(key.attribution, self._usable(key)[0])[0]
                    yield (
                        f"Virtual key {key.name} is marked as unlimited, but policy {policy.name} still binds it: "
                        "remove the mark, or change the policy."
                    )
            elif self.is_unbounded(key):
                yield f"Virtual key {key.name} cannot be used: {self._why(key)}."
            elif free:
                yield (
                    f"Virtual key {key.name} is refused for {_listed(free)}: no enforced policy bounds what its calls "
                    "for them can take. Add one, or remove them from the key's models."
                )

    def _usable(self, key: VirtualKey) -> Sequence[str]:
        return key.models or self._models or (_ANY_MODEL,)

    def _free(self, key: VirtualKey) -> list[str]:
        """The models for which no policy binds the key's calls."""
        who = key.attribution
        if who.key in self._named:
            return self._look_for_free(key)
        # A hundred thousand keys are alike in all that policies can match.
        alike = (who.team, who.project, who.environment, who.user, key.models)
        if alike not in self._free_of_alike:
            self._free_of_alike[alike] = self._look_for_free(key)
        return self._free_of_alike[alike]

    def _look_for_free(self, key: VirtualKey) -> list[str]:
        if self._binding(key.attribution, _ANY_MODEL):
            return []
        return [model for model in self._usable(key) if not self._binding(key.attribution, model)]

    def _binding(self, who: Attribution, model: str) -> list[QuotaPolicy]:
        return [policy for policy, _ in policies_for(self._index.candidates(who, model), who, model) if policy.binds]

    def _allowed(self, team: str) -> list[QuotaPolicy]:
        """The policies for this team that bind calls; only those that limit spend, if some do."""
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
    """Whether a policy is for this team in particular, and not a default policy."""
    return not policy.default and team == (policy.match.team or (team if policy.each is Dimension.TEAM else ""))


def _bounds_money(policy: QuotaPolicy) -> Iterator[bool]:
    return (limit.kind is LimitKind.SPEND and limit.bounds for limit in policy.limits)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
