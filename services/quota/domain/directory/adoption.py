"""Adoption: what calls in flight hold when policies change. They move to the limits that apply to them from then on.

A call holds room in the limits that applied when quota admitted it. If a policy is added, changed or renamed while the
call runs, quota makes its reservation again. The new reservation is for the windows in which quota admitted the call,
because the ledger counts it there, and it holds the most that the call can take. This and the change of policies happen
in one step, so nobody gets room that a call holds.
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
"""The current names of renamed policies, by their former names."""
# Each entry keeps the former name of a policy's counters. Nobody needs a chain of this many names.
MAX_RENAMED = 1_000


@dataclass(frozen=True, slots=True)
class Adoption:
    """Policies that are about to take effect."""

    directory: DirectorySnapshot
    renamed: Renamed
    """Counters under a former name continue under the current one."""

    @classmethod
    def of(cls, directory: DirectorySnapshot) -> Adoption:
        """The adoption of a directory's policies, including those that it renamed."""
        return cls(directory, dict(directory.directory.renamed))

    def reheld(self, reservation: Reservation) -> Reservation:
        """The reservation with the holds that it has under these policies."""
        held = {hold.counter: hold for hold in map(self._under_new_name, reservation.holds)}
        holds = tuple(
            held.get(limit.counter) or Hold(limit.counter, limit.retain_until_ms, amount_in(reservation, limit))
            for limit in self._limits_of(reservation)
        )
        return reservation if holds == reservation.holds else replace(reservation, holds=holds)

    def prepared(self, reservation: Reservation) -> Reservation:
        """The reservation with both its current holds and those under these policies, for the time of the change."""
        holds = {hold.counter: hold for hold in (*reservation.holds, *self.reheld(reservation).holds)}
        if len(holds) == len(reservation.holds):
            return reservation
        return replace(reservation, holds=tuple(holds.values()))

    def redoubted(self, doubt: Doubt) -> Doubt:
        """The doubt of a call, extended to the limits that apply to the call now.

        It stays in every counter that has it: only an administrator clears it, never a change of policies.
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
        """Whether the policy of this hold has another name by now."""
        return hold.counter.policy in self.renamed

    def new_name_of(self, counter: CounterKey) -> CounterKey:
        """The key of a counter from now on."""
        name = self.renamed.get(counter.policy)
        return counter if name is None else counter._replace(policy=name)

    def _under_new_name(self, hold: Hold) -> Hold:
        return hold._replace(counter=self.new_name_of(hold.counter))

    def _limits_of(self, call: Reservation) -> list[AppliedLimit]:
        applied = self.directory.apply(call.attribution, call.model, call.created_at_ms, call.run)
        return [limit for limit in applied.limits if limit.kind.has_counter]


def amount_in(reservation: Reservation, limit: AppliedLimit) -> int:
    """What a call holds in a limit that begins to apply to it.

    This is the most that it can take, even in a soft limit: nobody recorded its typical use when no soft limit applied.
    """
    if not limit.kind.is_of_size:
        return 1 if limit.kind.is_held else 0
    if reservation.most is not None:
        most = reservation.most.of(limit.kind)
        return min(most, MAX_COUNT) if most is not None else 0
    return _most_by_holds(reservation, limit.kind)


def _most_by_holds(reservation: Reservation, kind: LimitKind) -> int:
    """Derives the most that a call can take from its holds, for a call admitted before reservations recorded it."""
    held: dict[LimitKind, int] = {}
    for hold in reservation.holds:
        if holds_most(hold.counter.limit_id):
            held[kind_of(hold.counter.limit_id)] = hold.held
    parts = held.get(LimitKind.INPUT_TOKENS), held.get(LimitKind.OUTPUT_TOKENS)
    if kind not in held and kind is LimitKind.TOKENS and None not in parts:
        return sum(part for part in parts if part is not None)
    if kind not in held and kind in {LimitKind.INPUT_TOKENS, LimitKind.OUTPUT_TOKENS}:
        # The total is never less than either part.
        return held.get(LimitKind.TOKENS, 0)
    return held.get(kind, 0)


def renamed_between(
    before: Sequence[QuotaPolicy], after: Sequence[QuotaPolicy], pending: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[str, str], ...]:
    """Policies that only changed their name, each as (former name, new name). All else about them is equal.

    `pending`: earlier renames whose counters may not have followed yet.
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
