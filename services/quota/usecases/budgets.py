"""How far along every budget is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from services.kernel.clock import Clock
from services.kernel.errors import NotFound
from services.kernel.limit_kind import LimitKind
from services.kernel.names import no_such
from services.quota.domain.admission.decision import basis_points_of
from services.quota.domain.counters.counter import CounterKey, add_levels
from services.quota.domain.directory.applied_limits import override_of
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.policies.override import Override, OverrideTarget
from services.quota.domain.policies.policy import Mode
from services.quota.domain.policies.scope import policy_scope
from services.quota.ports.counters import Counters
from services.quota.ports.turns import Turns
from services.quota.usecases.budget_places import START, BudgetPlaces, Place, Position, window_starts_ms
from services.quota.usecases.limit_levels import LimitLevel, read_limit_levels
from services.quota.usecases.live import Live
from services.quota.usecases.sorted_runs import in_parts

MOST_LISTED = 1_000


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

    def __init__(self, *, live: Live, counters: Counters, clock: Clock, turns: Turns) -> None:
        self._live = live
        self._counters = counters
        self._clock = clock
        self._turns = turns
        self._places = BudgetPlaces(counters, turns)

    def __call__(
        self, policy: str = "", *, team: str = "", after: Position = START, limit: int = MOST_LISTED
    ) -> tuple[Budget, ...]:
        """At most `limit` budgets after a position, by policy, limit and scope, without disabled policies.

        Limits that nobody used yet are at zero. Limits on the cost of one request and on the burn rate are not budgets,
        so the list leaves them out. With `team` it contains only budgets that count nothing but calls of this team.

        Raises:
            NotFound: no such policy.
            Unavailable: the counters cannot be read.
        """
        snapshot = self._live.snapshot
        directory, now_ms = snapshot.directory, self._clock.now_ms()
        if policy and policy not in directory.policies_by_name:
            visible = (name for name, each in directory.policies_by_name.items() if team in {"", each.match.team})
            raise NotFound(no_such("policy", policy, visible))
        places = self._places.after(after, snapshot, now_ms, policy=policy, team=team)
        return tuple(
            budget
            for some in self._turns.between(in_parts(islice(places, limit)))
            for budget in self._budgets(some, directory.overrides_by_target, now_ms)
        )

    def _budgets(
        self, places: Sequence[Place], overrides: Mapping[OverrideTarget, Override], now_ms: int
    ) -> Iterator[Budget]:
        limits = {place.limit for place in places}
        ends_ms = {limit: limit.window.at(now_ms).end_ms for limit in limits}
        starts_ms = {limit: window_starts_ms(limit, now_ms) for limit in limits}
        counters = [_counters_of(place, starts_ms[place.limit]) for place in places]
        levels = iter(self._counters.levels([each for some in counters for each in some]))
        for (policy, limit, scope), some in zip(places, counters, strict=True):
            level = add_levels(islice(levels, len(some)))
            override = override_of(overrides, (policy.name, limit.limit_id, policy_scope(scope)), now_ms)
            yield Budget(
                policy=policy.name,
                limit_kind=limit.kind,
                scope=scope,
                window_start_ms=some[-1].window_start_ms,
                resets_at_ms=ends_ms[limit],
                limit=limit.bound if override is None else override.bound,
                settled=level.settled,
                reserved=level.reserved,
                doubt=level.doubt,
                mode=policy.mode,
                limit_id=limit.limit_id,
                override=override,
            )


def _counters_of(place: Place, starts_ms: Iterable[int]) -> list[CounterKey]:
    policy, limit, scope = place
    return [CounterKey(policy.name, limit.limit_id, scope, start_ms) for start_ms in starts_ms]


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
