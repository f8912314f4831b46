"""Doubt: the amount that stays reserved for a settled call because nobody measured what it took.

A call whose end nobody saw settles at an estimate. It can have taken more, up to what it held. That difference stays
reserved in every limit in which calls hold the most that they can take. So settled, reserved and doubt together stay
within the limit, whatever the provider bills in the end. Doubt ends when its window ends, when a measured figure
arrives after all, or when an administrator clears it. Its end settles nothing.

A policy may say that its limits keep no doubt. We look that up when a call settles, so earlier doubt stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from services.kernel.limit_kind import LimitKind
from services.kernel.names import first_reservation_id
from services.kernel.settlement import Most
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.policy import QuotaPolicy

Goes = Callable[["Doubt", Hold], bool]
"""Returns whether this hold of a doubt should go."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """The doubt that one call left."""

    reservation: Reservation
    """The reservation of the call, which has ended. It has at least one hold. Each hold is above 0 and is the amount
    that a counter still keeps for the call.

    Its `most` is the doubt that the call left of each kind.
    """
    since_ms: int
    """When the call was settled."""

    @property
    def ends_first_ms(self) -> int:
        """The earliest end of the windows that keep the doubt."""
        return min(hold.window_end_ms for hold in self.reservation.holds)

    def split(self, goes: Goes) -> tuple[Doubt | None, Doubt | None]:
        """Splits the doubt into the part that goes and the part that stays; None: nothing."""
        gone = tuple(hold for hold in self.reservation.holds if goes(self, hold))
        stays = tuple(hold for hold in self.reservation.holds if hold not in gone)
        return self._with(gone), self._with(stays)

    def until(self, ends_ms: Callable[[CounterKey], int]) -> Doubt:
        """The same doubt, with the ends of its windows moved to these later moments."""
        call = self.reservation
        holds = (hold._replace(window_end_ms=max(hold.window_end_ms, ends_ms(hold.counter))) for hold in call.holds)
        return replace(self, reservation=replace(call, holds=tuple(holds)))

    def _with(self, holds: tuple[Hold, ...]) -> Doubt | None:
        return replace(self, reservation=replace(self.reservation, holds=holds)) if holds else None


def doubt_of(reservation: Reservation, settlement: Settlement, now_ms: int) -> Doubt | None:
    """The doubt that a call leaves if it settles at this moment; None: no doubt."""
    if settlement.most is None:
        return None
    kept = ((hold, settlement.doubt_in(hold.counter, hold.held)) for hold in reservation.holds)
    holds = tuple(Hold(hold.counter, hold.window_end_ms, doubt) for hold, doubt in kept if doubt)
    return Doubt(replace(reservation, holds=holds, most=_rest_of(reservation, settlement)), now_ms) if holds else None


def estimating(policies: Iterable[QuotaPolicy]) -> frozenset[str]:
    """The names of the policies whose limits keep no doubt."""
    return frozenset(policy.name for policy in policies if policy.estimates_unmeasured)


def without_doubt(settlement: Settlement) -> Settlement:
    """The settlement without doubt, for a call that settled before and left its doubt then."""
    return replace(settlement, most=None)


def _rest_of(reservation: Reservation, settlement: Settlement) -> Most | None:
    """The doubt that the call leaves of each kind, whichever limits apply to it now."""
    most = reservation.most
    if most is None:
        return None

    def rest(kind: LimitKind) -> int:
        return settlement.doubt(kind, most.of(kind) or 0)

    return Most(rest(LimitKind.SPEND), rest(LimitKind.INPUT_TOKENS), rest(LimitKind.OUTPUT_TOKENS))


def all_of_it(_doubt: Doubt, _hold: Hold) -> bool:
    """Lets the whole doubt go, because we now know what the call took."""
    return True


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of doubts. An empty field selects any value."""

    reservations: frozenset[str] = frozenset()
    policy: str = ""
    scope: str = ""
    team: str = ""
    """The team of the call, whichever limits keep its doubt."""
    before_ms: int | None = None
    """Selects calls that were settled before this moment."""

    def has(self, doubt: Doubt, hold: Hold) -> bool:
        """Whether the selection contains this hold of a doubt."""
        return (
            (not self.reservations or doubt.reservation.id in self.reservations)
            and self.policy in {"", hold.counter.policy}
            and self.scope in {"", hold.counter.scope}
            and self.team in {"", doubt.reservation.attribution.team}
            and (self.before_ms is None or doubt.since_ms < self.before_ms)
        )

    def ends_behind(self, reservation: str) -> bool:
        """Whether the selection can contain no call admitted after this one: calls settle after their admission."""
        return self.before_ms is not None and reservation >= first_reservation_id(self.before_ms)
