"""How far along every budget is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.errors import NotFound
from services.kernel.window import WindowUnit
from services.quota.domain.directory import fixed_scope, scope_of
from services.quota.domain.policy import Dimension, LimitKind, Mode, QuotaPolicy
from services.quota.domain.reservation import Level
from services.quota.ports import Counter, CounterReader
from services.quota.usecases.current import Belief, Current


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit, in the present window, for one scope. Amounts are nano-USD, tokens, requests or calls."""

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

        Bounds on the cost of one request and on the burn rate are not among them: they are no budgets.

        Raises:
            NotFound: no such policy.
            Unavailable: the counters cannot be read.
        """
        belief = self._current.belief
        now_ms = self._clock.now_ms()
        used = _used(self._reader.counters_at(now_ms))
        if policy and policy not in belief.directory.policies_by_name:
            raise NotFound(f"there is no policy {policy!r}")
        return tuple(
            budget
            for name, each in sorted(belief.directory.policies_by_name.items())
            if policy in {"", name} and each.mode is not Mode.DISABLED
            for budget in _budgets(each, _scopes(each, belief), used, now_ms)
        )


_NO_BUDGETS = {LimitKind.REQUEST_COST, LimitKind.BURN_RATE}
_Used = dict[tuple[str, str, int], dict[str, Level]]
"""By policy, limit and start of the window: the level of each scope."""


def _used(counters: Iterable[Counter]) -> _Used:
    used: _Used = {}
    for key, _, level in counters:
        used.setdefault((key.policy, key.limit_id, key.window_start_ms), {})[key.scope] = level
    return used


def _budgets(policy: QuotaPolicy, known_scopes: set[str], used: _Used, now_ms: int) -> Iterator[Budget]:
    for limit in sorted(policy.limits, key=lambda limit: limit.limit_id):
        if limit.kind in _NO_BUDGETS:
            continue
        window = limit.window.at(now_ms)
        starts_ms = (window.start_ms, *limit.window.trailing_starts_ms(now_ms))
        parts = [used.get((policy.name, limit.limit_id, start_ms), {}) for start_ms in starts_ms]
        # A run is known once it calls.
        scopes = set() if limit.per is WindowUnit.RUN else known_scopes
        for scope in sorted(scopes.union(*parts)):
            levels = [part.get(scope, Level(0, 0)) for part in parts]
            yield Budget(
                policy=policy.name,
                limit_kind=limit.kind,
                scope=scope,
                window_start_ms=starts_ms[-1],
                resets_at_ms=window.end_ms,
                limit=limit.bound,
                settled=sum(level.settled for level in levels),
                reserved=sum(level.reserved for level in levels),
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
