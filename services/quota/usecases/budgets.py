"""How far along every budget is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.errors import NotFound
from services.kernel.limit_kind import LimitKind
from services.kernel.names import no_such
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.admission.decision import basis_points_of
from services.quota.domain.counters.counter import Level, add_levels
from services.quota.domain.directory.applied_limits import override_of
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.policies.override import Override, OverrideTarget
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.domain.policies.scope import fixed_scope, policy_scope, scope_of
from services.quota.ports.counters import Counter, Counters
from services.quota.usecases.limit_levels import LimitLevel, read_limit_levels
from services.quota.usecases.live import Live, Snapshot


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit, in the current window, for one scope. Amounts are nano-USD, tokens, requests or calls."""

    policy: str
    limit_kind: LimitKind
    scope: str
    window_start_ms: int
    resets_at_ms: int
    limit: int
    settled: int
    reserved: int
    doubt: int
    mode: Mode
    limit_id: str
    override: Override | None
    """The override that sets `limit` for now; None: the limit is the policy's own."""


class ListBudgets:
    """Lists the used, held, doubtful and remaining amounts of the current windows."""

    def __init__(self, *, live: Live, counters: Counters, clock: Clock) -> None:
        self._live = live
        self._counters = counters
        self._clock = clock

    def __call__(self, policy: str = "", *, team: str = "") -> tuple[Budget, ...]:
        """The budgets by policy, limit and scope, without disabled policies. Limits that nobody used yet are at zero.

        Limits on the cost of one request and on the burn rate are not budgets, so the list leaves them out. With `team`
        it contains only budgets that count nothing but calls of this team.

        Raises:
            NotFound: no such policy.
            Unavailable: the counters cannot be read.
        """
        snapshot = self._live.snapshot
        now_ms = self._clock.now_ms()
        used = _used(self._counters.counters_at(now_ms))
        if policy and policy not in snapshot.directory.policies_by_name:
            visible = (
                name for name, each in snapshot.directory.policies_by_name.items() if team in {"", each.match.team}
            )
            raise NotFound(no_such("policy", policy, visible))
        return tuple(
            budget
            for name, each in sorted(snapshot.directory.policies_by_name.items())
            if policy in {"", name} and each.mode is not Mode.DISABLED
            for budget in _budgets(each, _scopes(each, snapshot), used, snapshot.directory.overrides_by_target, now_ms)
            if not team or f"team={team}" in policy_scope(budget.scope).split(",")
        )


class EffectiveLimits:
    """Lists the limits that apply to a key: its own and those of everything that it belongs to."""

    def __init__(self, *, live: Live, counters: Counters, clock: Clock) -> None:
        self._live = live
        self._counters = counters
        self._clock = clock

    def __call__(self, key: str, model: str = "", *, team: str = "") -> tuple[Budget, ...]:
        """The limits for calls of this model, or of any model that the key may use; tightest first.

        `team`: the only team whose keys the caller may know of; empty: all teams.

        Raises:
            NotFound: no such key.
            Unavailable: the counters cannot be read.
        """
        snapshot = self._live.snapshot
        directory = snapshot.directory
        found = directory.key_named(key, team)
        now_ms = self._clock.now_ms()
        named = {policy.match.model for policy in directory.directory.policies} | set(snapshot.routes.plan.models)
        models = [model] if model else sorted(one for one in named | {""} if not one or found.may_use(one))
        applied = [directory.apply(found.attribution, one, now_ms) for one in models]
        budgets = [_budget(each, directory, now_ms) for each in read_limit_levels(self._counters, applied)]
        return tuple(sorted(budgets, key=_looseness))


def _budget(read: LimitLevel, directory: DirectorySnapshot, now_ms: int) -> Budget:
    limit, level = read
    counter = limit.counter
    place = (counter.policy, counter.limit_id, policy_scope(counter.scope))
    return Budget(
        policy=counter.policy,
        limit_kind=limit.kind,
        scope=counter.scope,
        window_start_ms=(counter, *limit.trailing)[-1].window_start_ms,
        resets_at_ms=limit.window_end_ms,
        limit=limit.bound,
        settled=level.settled,
        reserved=level.reserved,
        doubt=level.doubt,
        mode=directory.policies_by_name[counter.policy].mode,
        limit_id=counter.limit_id,
        override=override_of(directory.overrides_by_target, place, now_ms),
    )


def _looseness(budget: Budget) -> tuple[int, int, str, str]:
    """A sort key that is small for a tight limit: by the part used, held or in doubt, then by the bound."""
    used = basis_points_of(budget.limit, budget.settled + budget.reserved + budget.doubt)
    return -used, budget.limit, budget.policy, budget.limit_id


_Used = dict[tuple[str, str, int], dict[str, Level]]
"""The level of each scope, by policy, limit and start of the window."""


def _used(counters: Iterable[Counter]) -> _Used:
    used: _Used = {}
    for key, _, level in counters:
        used.setdefault((key.policy, key.limit_id, key.window_start_ms), {})[key.scope] = level
    return used


def _budgets(
    policy: QuotaPolicy, known_scopes: set[str], used: _Used, overrides: Mapping[OverrideTarget, Override], now_ms: int
) -> Iterator[Budget]:
    for limit in sorted(policy.limits, key=lambda limit: limit.limit_id):
        if not limit.kind.is_budget:
            continue
        window = limit.window.at(now_ms)
        starts_ms = (window.start_ms, *limit.window.trailing_starts_ms(now_ms))
        parts = [used.get((policy.name, limit.limit_id, start_ms), {}) for start_ms in starts_ms]
        # We know a run only after its first call.
        scopes = set() if limit.per is WindowUnit.RUN else known_scopes
        for scope in sorted(scopes.union(*parts)):
            level = add_levels(part[scope] for part in parts if scope in part)
            override = override_of(overrides, (policy.name, limit.limit_id, policy_scope(scope)), now_ms)
            yield Budget(
                policy=policy.name,
                limit_kind=limit.kind,
                scope=scope,
                window_start_ms=starts_ms[-1],
                resets_at_ms=window.end_ms,
                limit=limit.bound if override is None else override.bound,
                settled=level.settled,
                reserved=level.reserved,
                doubt=level.doubt,
                mode=policy.mode,
                limit_id=limit.limit_id,
                override=override,
            )


def _scopes(policy: QuotaPolicy, snapshot: Snapshot) -> set[str]:
    """The scopes that exist without any call: the policy's own, or one for each key or model that it applies to."""
    if policy.each is None:
        return {fixed_scope(policy)}
    models = (
        [policy.match.model]
        if policy.match.model or policy.each is not Dimension.MODEL
        else snapshot.routes.plan.models
    )
    found = {scope_of(policy, key.attribution, model) for key in snapshot.directory.directory.keys for model in models}
    return {scope for scope in found if scope is not None}
