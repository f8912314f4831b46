"""What calls hold when policies change: they count in the limits that concern them from then on, and in no others.

A call holds in the limits that concerned it when it was admitted. When a policy is added, changed or renamed while it
runs, its reservation is made anew: for the windows in which it was admitted, as the ledger counts it, with the most
that it can take. That happens in one step with the change taking force, so that nobody is let into room that is held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.kernel.limit_kind import LimitKind
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.doubt import Doubt
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.directory.applied_limits import AppliedLimit
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.policies.limit_id import MAX_COUNT, holds_most, kind_of
from services.quota.domain.policies.policy import QuotaPolicy

Renamed = Mapping[str, str]
"""Names of policies now, by those that they had before."""


# Each names what a counter was filed under. A chain of so many new names is nobody's.
MAX_RENAMED = 1_000


@dataclass(frozen=True, slots=True)
class Adoption:
    """Policies that are to take force."""

    directory: DirectorySnapshot
    renamed: Renamed
    """Counters under the former go on under the latter."""

    @classmethod
    def of(cls, directory: DirectorySnapshot) -> Adoption:
        """Of the policies of a directory, with those that got another name in it."""
        return cls(directory, dict(directory.directory.renamed))

    def reheld(self, reservation: Reservation) -> Reservation:
        """The same call, with what it holds under these policies."""
        held = {hold.counter: hold for hold in map(self._under_new_name, reservation.holds)}
        holds = tuple(
            held.get(limit.counter) or Hold(limit.counter, limit.retain_until_ms, amount_in(reservation, limit))
            for limit in self._limits_of(reservation)
        )
        return reservation if holds == reservation.holds else replace(reservation, holds=holds)

    def prepared(self, reservation: Reservation) -> Reservation:
        """The same call, with what it holds under these policies beside what it holds now, while they change."""
        holds = {hold.counter: hold for hold in (*reservation.holds, *self.reheld(reservation).holds)}
        if len(holds) == len(reservation.holds):
            return reservation
        return replace(reservation, holds=tuple(holds.values()))

    def redoubted(self, doubt: Doubt) -> Doubt:
        """What the same call left in doubt, also in the limits that concern it now.

        It goes from no counter that it is in: it is given back by who clears it, and not by a change of policies.
        """
        call = doubt.reservation
        kept = {hold.counter: hold for hold in (*map(self._under_new_name, call.holds), *call.holds)}
        for limit in self._limits_of(call):
            keeps = holds_most(limit.counter.limit_id) and not limit.estimates_unmeasured
            if limit.counter not in kept and keeps and call.most is not None:
                kept[limit.counter] = Hold(limit.counter, limit.retain_until_ms, amount_in(call, limit))
        holds = tuple(hold for hold in kept.values() if hold.held)
        return doubt if set(holds) == set(call.holds) else replace(doubt, reservation=replace(call, holds=holds))

    def is_under_old_name(self, _doubt: Doubt, hold: Hold) -> bool:
        """Whether the policy has another name by now."""
        return hold.counter.policy in self.renamed

    def new_name_of(self, counter: CounterKey) -> CounterKey:
        """What a counter is filed under from now on."""
        name = self.renamed.get(counter.policy)
        return counter if name is None else counter._replace(policy=name)

    def _under_new_name(self, hold: Hold) -> Hold:
        return hold._replace(counter=self.new_name_of(hold.counter))

    def _limits_of(self, call: Reservation) -> list[AppliedLimit]:
        applied = self.directory.apply(call.attribution, call.model, call.created_at_ms, call.run)
        return [limit for limit in applied.limits if limit.kind.has_counter]


def amount_in(reservation: Reservation, limit: AppliedLimit) -> int:
    """What a call holds in a limit that begins to concern it.

    In a soft one that is the most that it can take as well: what is usual was not noted where no limit asked for it.
    """
    if not limit.kind.is_of_size:
        return 1 if limit.kind.is_held else 0
    if reservation.most is not None:
        most = reservation.most.of(limit.kind)
        return min(most, MAX_COUNT) if most is not None else 0
    return _told_by_holds(reservation, limit.kind)


def _told_by_holds(reservation: Reservation, kind: LimitKind) -> int:
    """What the holds of a call tell of the most that it can take, of which nobody took note when it was admitted."""
    held: dict[LimitKind, int] = {}
    for hold in reservation.holds:
        if holds_most(hold.counter.limit_id):
            held[kind_of(hold.counter.limit_id)] = hold.held
    parts = held.get(LimitKind.INPUT_TOKENS), held.get(LimitKind.OUTPUT_TOKENS)
    if kind not in held and kind is LimitKind.TOKENS and None not in parts:
        return sum(part for part in parts if part is not None)
    if kind not in held and kind in {LimitKind.INPUT_TOKENS, LimitKind.OUTPUT_TOKENS}:
        # Both together are no less than either.
        return held.get(LimitKind.TOKENS, 0)
    return held.get(kind, 0)


def renamed_between(
    before: Sequence[QuotaPolicy], after: Sequence[QuotaPolicy], pending: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[str, str], ...]:
    """Policies that were only renamed, each as its name before and now: those that match, count and limit the same.

    `pending`: of changes before, whose counters may not have followed yet.
    """
    names_before, names_after = ({policy.name for policy in some} for some in (before, after))
    came = [policy for policy in after if policy.name not in names_before]
    found: dict[str, str] = {}
    for policy in before:
        if policy.name in names_after:
            continue
        twin = next((each for each in came if _counts_the_same(each, policy)), None)
        if twin is not None:
            came.remove(twin)
            found[policy.name] = twin.name
    earlier = {old: found.get(new, new) for old, new in pending}
    kept = {old: new for old, new in earlier.items() if new in names_after and old not in names_after}
    return tuple({**kept, **found}.items())[-MAX_RENAMED:]


def _counts_the_same(one: QuotaPolicy, other: QuotaPolicy) -> bool:
    def counted(policy: QuotaPolicy) -> tuple[object, ...]:
        return policy.match, policy.each, policy.limits, policy.default

    return counted(one) == counted(other)
