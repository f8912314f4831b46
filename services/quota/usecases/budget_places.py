"""Where there are budgets: policies, limits and scopes in their order, page by page.

What a page needs of 100,000 scopes is little, but to find their order takes a look at all. A listing does that once, a
slice at a time, and its further pages go on with what the first one found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.domain.policies.scope import fixed_scope, policy_scope, scope_of
from services.quota.ports.counters import Counters
from services.quota.ports.turns import Turns
from services.quota.usecases.live import Snapshot
from services.quota.usecases.sorted_runs import SortedRuns, in_parts, merged

# A further page finds no scopes that are newer than its listing. An abandoned listing is forgotten with the next one.
_LISTED_FOR_MS = 60_000


class Position(NamedTuple):
    """A budget's place in the order."""

    policy: str
    limit_id: str
    scope: str


START = Position("", "", "")
"""Before every budget."""


class Place(NamedTuple):
    """A limit for one scope."""

    policy: QuotaPolicy
    limit: Limit
    scope: str


@dataclass(slots=True)
class _Listing:
    """What is known of all places."""

    snapshot: Snapshot
    at_ms: int
    policies: SortedRuns
    used: dict[tuple[str, str, int], SortedRuns]
    """The scopes that have counters, by policy, limit and start of the window."""
    known: tuple[str, SortedRuns] = field(default_factory=lambda: ("", SortedRuns()))
    """The scopes that exist without any call, of the policy that was listed last."""


class BudgetPlaces:
    """Finds places. Safe to use from any thread."""

    def __init__(self, counters: Counters, turns: Turns) -> None:
        self._counters = counters
        self._turns = turns
        self._latest: _Listing | None = None

    def after(self, position: Position, snapshot: Snapshot, now_ms: int, *, policy: str, team: str) -> Iterator[Place]:
        """The places after a position: of all policies or one, and of all teams or one.

        Raises:
            Unavailable: the counters cannot be read.
        """
        listing = self._latest
        is_of_now = listing is not None and listing.snapshot is snapshot and now_ms - listing.at_ms < _LISTED_FOR_MS
        if listing is None or position == START or not is_of_now:
            listing = self._latest = self._look(snapshot, now_ms)
        for some in self._turns.between(in_parts(self._all(listing, position, policy))):
            for place in some:
                if not team or f"team={team}" in policy_scope(place.scope).split(","):
                    yield place
        if self._latest is listing:
            self._latest = None

    def _look(self, snapshot: Snapshot, now_ms: int) -> _Listing:
        used: dict[tuple[str, str, int], SortedRuns] = {}
        for key, _, _ in self._counters.counters_at(now_ms):
            group = (key.policy, key.limit_id, key.window_start_ms)
            if group not in used:
                used[group] = SortedRuns()
            used[group].add(key.scope)
        return _Listing(snapshot, now_ms, SortedRuns.of(snapshot.directory.policies_by_name, self._turns), used)

    def _all(self, listing: _Listing, position: Position, only: str) -> Iterator[Place]:
        named = listing.snapshot.directory.policies_by_name
        if only:
            names = iter([only])
        else:
            # The last page may have ended amid a policy.
            names = merged([listing.policies], position.policy)
            names = iter([position.policy, *names]) if position.policy in named else names
        for name in names:
            policy = named[name]
            if policy.mode is not Mode.DISABLED:
                yield from self._of_policy(listing, policy, position if name == position.policy else START)

    def _of_policy(self, listing: _Listing, policy: QuotaPolicy, position: Position) -> Iterator[Place]:
        for limit in sorted(policy.limits, key=lambda limit: limit.limit_id):
            if limit.kind.is_budget and limit.limit_id >= position.limit_id:
                after = position.scope if limit.limit_id == position.limit_id else ""
                starts_ms = window_starts_ms(limit, listing.at_ms)
                sets = [listing.used.get((policy.name, limit.limit_id, start_ms)) for start_ms in starts_ms]
                # We know a run only after its first call.
                known = SortedRuns() if limit.per is WindowUnit.RUN else self._known(listing, policy)
                scopes = merged([known, *(each for each in sets if each is not None)], after)
                yield from (Place(policy, limit, scope) for scope in scopes)

    def _known(self, listing: _Listing, policy: QuotaPolicy) -> SortedRuns:
        name, known = listing.known
        if name != policy.name:
            known = SortedRuns.of(_known_scopes(policy, listing.snapshot), self._turns)
            listing.known = (policy.name, known)
        return known


def window_starts_ms(limit: Limit, now_ms: int) -> tuple[int, ...]:
    """The starts of the windows whose counters a limit adds up now, the current window first."""
    return limit.window.at(now_ms).start_ms, *limit.window.trailing_starts_ms(now_ms)


def _known_scopes(policy: QuotaPolicy, snapshot: Snapshot) -> Iterator[str | None]:
    """The scopes that exist without any call: the policy's own, or one for each key or model that it applies to.

    None for each key that it does not apply to.
    """
    if policy.each is None:
        yield fixed_scope(policy)
        return
    is_each_model = policy.each is Dimension.MODEL
    models = snapshot.routes.plan.models if is_each_model and not policy.match.model else [policy.match.model]
    for key in snapshot.directory.directory.keys:
        scopes = [scope_of(policy, key.attribution, model) for model in models]
        yield from scopes
        if is_each_model and any(scopes):
            # All keys that it applies to have these.
            return
