"""Doubt: what stays reserved for a call that is settled, since nobody measured what it took.

A call whose end nobody saw is settled at an estimate. What it can have taken above that, and within what it held, stays
reserved in every limit of which calls hold the most that they can take. So settled, reserved and doubt together stay
within the limit whatever the provider bills in the end. Doubt goes when the window ends for which it is kept, when a
measured figure comes after all, or when an administrator clears it. Nothing is settled by that.

A policy may say that its limits keep none. That is looked up when a call is settled: what was kept before stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from services.kernel.limit_kind import LimitKind
from services.kernel.names import first_reservation_id
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Hold, Most, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.policy import QuotaPolicy

Goes = Callable[["Doubt", Hold], bool]
"""Tells which holds of a doubt are to go."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What one call left in doubt."""

    reservation: Reservation
    """The call's, which has ended. Each of its holds, at least one, is what a counter keeps for it and above 0.

    Its `most` is what it left of each kind.
    """
    since_ms: int
    """When it was settled."""

    @property
    def ends_first_ms(self) -> int:
        """When the first of the windows ends for which it is kept."""
        return min(hold.window_end_ms for hold in self.reservation.holds)

    def split(self, goes: Goes) -> tuple[Doubt | None, Doubt | None]:
        """What of it is to go, and what stays; None: nothing."""
        gone = tuple(hold for hold in self.reservation.holds if goes(self, hold))
        stays = tuple(hold for hold in self.reservation.holds if hold not in gone)
        return self._with(gone), self._with(stays)

    def until(self, ends_ms: Callable[[CounterKey], int]) -> Doubt:
        """The same, kept until its counters stop to matter, where that is later than was known."""
        call = self.reservation
        holds = (hold._replace(window_end_ms=max(hold.window_end_ms, ends_ms(hold.counter))) for hold in call.holds)
        return replace(self, reservation=replace(call, holds=tuple(holds)))

    def _with(self, holds: tuple[Hold, ...]) -> Doubt | None:
        return replace(self, reservation=replace(self.reservation, holds=holds)) if holds else None


def doubt_of(reservation: Reservation, settlement: Settlement, now_ms: int) -> Doubt | None:
    """What a call leaves in doubt that is settled at this moment; None: nothing."""
    if settlement.most is None:
        return None
    kept = ((hold, settlement.doubt_in(hold.counter, hold.held)) for hold in reservation.holds)
    holds = tuple(Hold(hold.counter, hold.window_end_ms, doubt) for hold, doubt in kept if doubt)
    return Doubt(replace(reservation, holds=holds, most=_rest_of(reservation, settlement)), now_ms) if holds else None


def estimating(policies: Iterable[QuotaPolicy]) -> frozenset[str]:
    """Names of the policies whose limits keep no doubt."""
    return frozenset(policy.name for policy in policies if policy.estimates_unmeasured)


def without_doubt(settlement: Settlement) -> Settlement:
    """The same of a call that was settled before and left its doubt then."""
    return replace(settlement, most=None)


def _rest_of(reservation: Reservation, settlement: Settlement) -> Most | None:
    """What the call leaves in doubt of each kind, whatever limits concern it now."""
    most = reservation.most
    if most is None:
        return None

    def rest(kind: LimitKind) -> int:
        return settlement.doubt(kind, most.of(kind) or 0)

    return Most(rest(LimitKind.SPEND), rest(LimitKind.INPUT_TOKENS), rest(LimitKind.OUTPUT_TOKENS))


def all_of_it(_doubt: Doubt, _hold: Hold) -> bool:
    """Goes whole: what the call took is known."""
    return True


@dataclass(frozen=True, slots=True)
class Selection:
    """Which doubts somebody means. What is left empty leaves any in."""

    reservations: frozenset[str] = frozenset()
    policy: str = ""
    scope: str = ""
    team: str = ""
    """Of the call, whichever limits it left doubt in."""
    before_ms: int | None = None
    """Of calls that were settled before this moment."""

    def has(self, doubt: Doubt, hold: Hold) -> bool:
        """Whether this hold of a doubt is meant."""
        return (
            (not self.reservations or doubt.reservation.id in self.reservations)
            and self.policy in {"", hold.counter.policy}
            and self.scope in {"", hold.counter.scope}
            and self.team in {"", doubt.reservation.attribution.team}
            and (self.before_ms is None or doubt.since_ms < self.before_ms)
        )

    def ends_behind(self, reservation: str) -> bool:
        """Whether no call that was admitted after this one can be meant: calls are settled after their admission."""
        return self.before_ms is not None and reservation >= first_reservation_id(self.before_ms)
