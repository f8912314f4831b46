"""How far along every budget is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.errors import NotFound
from services.kernel.window import window_at
from services.quota.domain.directory import fixed_scope, scope_of
from services.quota.domain.policy import Dimension, LimitKind, Mode, QuotaPolicy
from services.quota.domain.reservation import CounterKey, Level
from services.quota.ports import CounterReader
from services.quota.usecases.current import Belief, Current


@dataclass(frozen=True, slots=True)
class Budget:
    """One counter: a limit, in the present window, for one scope. Amounts are nano-USD, tokens or requests."""

    policy: str
    limit_kind: LimitKind
    scope: str
    window_start_ms: int
    resets_at_ms: int
    limit: int
    settled: int
    reserved: int
    mode: Mode


class ListBudgets:
    """Lists what is used, held and left in the present windows."""

    def __init__(self, *, current: Current, reader: CounterReader, clock: Clock) -> None:
        self._current = current
        self._reader = reader
        self._clock = clock

    def __call__(self, policy: str = "") -> tuple[Budget, ...]:
        """By policy, limit and scope; disabled policies are left out. Limits that nobody used yet are at zero.

        Raises:
            NotFound: no such policy.
            Unavailable: the counters cannot be read.
        """
        belief = self._current.belief
        now_ms = self._clock.now_ms()
        used = {counter.key: counter.level for counter in self._reader.counters_at(now_ms)}
        if policy and policy not in belief.directory.policies_by_name:
            raise NotFound(f"there is no policy {policy!r}")
        return tuple(
            budget
            for name, each in sorted(belief.directory.policies_by_name.items())
            if policy in {"", name} and each.mode is not Mode.DISABLED
            for budget in _budgets(each, _scopes(each, belief), used, now_ms)
        )


def _budgets(
    policy: QuotaPolicy, known_scopes: set[str], used: dict[CounterKey, Level], now_ms: int
) -> Iterator[Budget]:
    for limit in sorted(policy.limits, key=lambda limit: limit.limit_id):
        window = window_at(limit.per, limit.timezone, now_ms)
        used_scopes = {
            key.scope
            for key in used
            if (key.policy, key.limit_id, key.window_start_ms) == (policy.name, limit.limit_id, window.start_ms)
        }
        for scope in sorted(known_scopes | used_scopes):
            counter = CounterKey(policy.name, limit.limit_id, scope, window.start_ms)
            level = used.get(counter, Level(0, 0))
            yield Budget(
                policy=policy.name,
                limit_kind=limit.kind,
                scope=scope,
                window_start_ms=window.start_ms,
                resets_at_ms=window.end_ms,
                limit=limit.bound,
                settled=level.settled,
                reserved=level.reserved,
                mode=policy.mode,
            )


def _scopes(policy: QuotaPolicy, belief: Belief) -> set[str]:
    """The scopes that are known without a call: that of the policy, or one for each key or model that it concerns."""
    if policy.each is None:
        return {fixed_scope(policy)}
    models = (
        [policy.match.model] if policy.match.model or policy.each is not Dimension.MODEL else belief.routes.plan.models
    )
    found = {scope_of(policy, key.attribution, model) for key in belief.directory.directory.keys for model in models}
    return {scope for scope in found if scope is not None}
