"""Grants, lists and revokes overrides."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.change import Action, AuditAction, Authorship, Role
from services.kernel.clock import Clock
from services.kernel.errors import FailedPrecondition, InvalidInput, NotFound, PermissionDenied
from services.kernel.money import format_usd
from services.kernel.names import no_such
from services.kernel.scope import NOBODY
from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.references import Known, check_value
from services.quota.domain.identity.access import check_team
from services.quota.domain.identity.key import Entropy
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.override import Override
from services.quota.domain.policies.override_rules import (
    MAX_LIFE_MS,
    MAX_OVERRIDES,
    check_bound,
    find_limit,
    find_scope,
    team_cap,
    value_in,
)
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.usecases.amend import Amend, Answer
from services.quota.usecases.live import Live

_NAME_ENTROPY_BYTES = 6


@dataclass(frozen=True, slots=True)
class Grant:
    """A request for an override."""

    policy: str
    limit: str
    """See `services.quota.domain.policies.override_rules.find_limit`."""
    scope: str
    amount_nano_usd: int | None
    """The bound of a limit on spend; None for other limits."""
    count: int
    expire_at_ms: int


class Overrides:
    """Overrides bounds for a while. A team admin may do so for policies of its team, within the team's cap."""

    def __init__(self, *, amend: Amend, live: Live, clock: Clock, entropy: Entropy) -> None:
        self._amend = amend
        self._live = live
        self._clock = clock
        self._entropy = entropy

    def list(self, team: str = "") -> tuple[Override, ...]:
        """The overrides in force, by name; with `team` only those of policies that name the team."""
        directory = self._live.snapshot.directory
        now_ms = self._clock.now_ms()
        return tuple(
            each
            for each in sorted(directory.directory.overrides, key=lambda each: each.name)
            if each.holds_at(now_ms) and team in {"", directory.policies_by_name[each.policy].match.team}
        )

    def grant(self, asked: Grant, *, by: Authorship) -> Override:
        """Replaces a limit's own bound, from now until the override expires.

        Raises:
            FailedPrecondition: too many overrides are in force.
            InvalidInput: a property is wrong; the error names it.
            NotFound: no such policy.
            PermissionDenied: the actor may not go that far.
        """
        now_ms = self._clock.now_ms()
        if not by.reason:
            raise InvalidInput("override.reason", "say why: others will read it")

        def change(before: Directory) -> Directory:
            if not now_ms < asked.expire_at_ms <= now_ms + MAX_LIFE_MS:
                raise InvalidInput("override.expire_time", "must be in the future, at most 31 days ahead")
            made = self._checked(before, asked, by, now_ms)
            _check_replaceable(by, before.overrides, made)
            others = tuple(each for each in before.overrides if each.place != made.place)
            if len(others) >= MAX_OVERRIDES:
                raise FailedPrecondition(f"{MAX_OVERRIDES} overrides are in force: change the policies instead")
            return replace(before, overrides=(*others, made))

        made = Answer(Override, lambda _, after: after.overrides[-1])
        return self._amend.once(change, made, by=by, verbs={Action.CREATE: AuditAction.GRANT}).answer

    def revoke(self, name: str, *, by: Authorship) -> Override:
        """Ends an override and returns it.

        Raises:
            NotFound: no override with this name is in force.
            PermissionDenied: the actor may not revoke it.
        """

        def change(before: Directory) -> Directory:
            found = next((each for each in before.overrides if each.name == name), None)
            if found is None:
                raise NotFound(f"no override {name!r} is in force")
            policy = next(policy for policy in before.policies if policy.name == found.policy)
            check_team(by.actor, policy.match.team, f"policy {policy.name}")
            _check_replaceable(by, (found,), found)
            return replace(before, overrides=tuple(each for each in before.overrides if each.name != name))

        gone = Answer(Override, lambda before, _: next(each for each in before.overrides if each.name == name))
        return self._amend.once(change, gone, by=by, verbs={Action.DELETE: AuditAction.REVOKE}).answer

    def _checked(self, directory: Directory, asked: Grant, by: Authorship, now_ms: int) -> Override:
        policy = next((policy for policy in directory.policies if policy.name == asked.policy), None)
        if policy is None:
            team = by.actor.team
            visible = (policy.name for policy in directory.policies if team in {"", policy.match.team})
            raise NotFound(no_such("policy", asked.policy, visible))
        check_team(by.actor, policy.match.team, f"policy {policy.name}")
        limit = find_limit(policy, asked.limit)
        bound = _bound(limit, asked)
        check_bound(limit.kind, bound)
        if by.actor.team:
            _check_cap(directory, policy, limit, bound, by)
        scope = find_scope(policy, asked.scope)
        self._check_value(directory, policy, scope)
        return Override(
            name=f"ovr_{now_ms:012x}{self._entropy(_NAME_ENTROPY_BYTES).hex()}",
            policy=policy.name,
            limit_id=limit.limit_id,
            scope=scope,
            bound=bound,
            create_at_ms=now_ms,
            expire_at_ms=asked.expire_at_ms,
            reason=by.reason,
            actor=by.actor.name,
            role=by.actor.role,
        )

    def _check_value(self, directory: Directory, policy: QuotaPolicy, scope: str) -> None:
        """Checks that the value in the scope exists, if the policy has `each`."""
        each = policy.each
        value = value_in(scope, each) if each is not None else NOBODY
        if each is not None and value != NOBODY:
            known = Known.of(directory, self._live.snapshot.routes.plan.models)
            check_value("override.scope", each, value, policy.match, known)


def _bound(limit: Limit, asked: Grant) -> int:
    if limit.kind.is_money:
        if asked.amount_nano_usd is None:
            raise InvalidInput("override.amount", f"{limit.limit_id} is a limit on money: give an amount")
        return asked.amount_nano_usd
    if asked.amount_nano_usd is not None:
        raise InvalidInput("override.amount", f"{limit.limit_id} is not a limit on money: give a count")
    return asked.count


def _check_cap(directory: Directory, policy: QuotaPolicy, limit: Limit, bound: int, by: Authorship) -> None:
    cap = team_cap(directory.policies, by.actor.team, policy, limit)
    what = f"{limit.limit_id} of policy {policy.name}"
    if cap is None:
        raise PermissionDenied(
            f"no limit of the whole team {by.actor.team} caps {what}, so only the {Role.PLATFORM} role may override it"
        )
    if bound > cap:
        most = f"${format_usd(cap)}" if limit.kind.is_money else f"{cap:,}"
        raise PermissionDenied(
            f"{what} can be overridden up to {most}, the cap of team {by.actor.team}: beyond it ask the "
            f"{Role.PLATFORM} role"
        )


def _check_replaceable(by: Authorship, in_force: tuple[Override, ...], asked: Override) -> None:
    """Keeps a team admin from replacing an override of the platform, which may be lower than the limit itself."""
    stands = next((each for each in in_force if each.place == asked.place), None)
    if stands is not None and by.actor.team and stands.role != by.actor.role:
        raise PermissionDenied(f"override {stands.name} was granted by {stands.actor}: ask the {Role.PLATFORM} role")
