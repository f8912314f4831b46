"""Settlements: what a call took, and how that moves the counters in which it holds room."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.limit_kind import LimitKind
from services.kernel.settlement import Most
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation, holds_unknown
from services.quota.domain.policies.limit_id import holds_most, kind_of

UNKNOWN_COST = -1


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one call took."""

    reservation: str
    cost_nano_usd: int
    """-1 if the price is unknown; the held amount then counts."""
    input_tokens: int
    """Includes cached tokens."""
    output_tokens: int
    """Includes reasoning tokens."""
    end_at_ms: int
    reported: bool
    """The tokens are the provider's own count. We learn typical amounts only from such calls."""
    answer_text_bytes: int = 0
    """The bytes of text that we saw of the answer."""
    most: Most | None = None
    """The most that the call can have taken; None: we know what it took."""
    estimated_in: frozenset[str] = frozenset()
    """The names of policies whose limits count only its estimate and keep no doubt."""

    def doubt_in(self, counter: CounterKey, held: int) -> int:
        """The doubt that a counter keeps after the call."""
        return 0 if counter.policy in self.estimated_in else self.doubt(counter.limit_id, held)

    def doubt(self, limit_id: str, held: int) -> int:
        """The doubt that a limit keeps: what the call can have taken above its counted amount, within its hold."""
        if self.most is None or not holds_most(limit_id):
            return 0
        kind = kind_of(limit_id)
        most = self.most.of(kind)
        return max(0, (held if most is None else min(held, most)) - self.actual(kind, held))

    def actual(self, kind: LimitKind, held: int) -> int:
        """What a limit of this kind counts of the call."""
        if not kind.is_taken:
            return 0
        if kind.is_money and self.cost_nano_usd == UNKNOWN_COST:
            return held
        return kind.measure(self)

    @property
    def calls(self) -> int:
        """Always 1: a settlement is of one call."""
        return 1


@dataclass(slots=True)
class Move:
    """How the settlements of a batch, added up, move one counter. So the store writes each counter once."""

    window_end_ms: int
    settled: int = 0
    reserved: int = 0
    doubt: int = 0
    excess: int = 0
    """What calls took above their holds."""
    last: str = ""
    """The reservation id of the last of these calls."""
    unpriced: str = ""
    """In a limit on spend, the first of these calls whose cost is unknown; empty if there is none."""
    unknown: str = ""
    """In a limit on spend, the first of these calls with unknown members; empty if there is none."""


def add_moves(moves: dict[CounterKey, Move], reservation: Reservation, settlement: Settlement) -> None:
    """Adds how one settlement moves the counters of its reservation."""
    for counter, window_end_ms, held, _, _ in reservation.holds:
        move = moves.get(counter)
        if move is None:
            move = moves[counter] = Move(window_end_ms)
        taken = settlement.actual(kind_of(counter.limit_id), held)
        move.settled += taken
        move.last = reservation.id
        move.reserved -= held
        if settlement.most is not None:
            move.doubt += settlement.doubt_in(counter, held)
        if taken > held:
            move.excess += excess_of(counter, held, taken)
        if not move.unpriced and lacks_price(counter, settlement):
            move.unpriced = reservation.id
        if not move.unknown and holds_unknown(counter, reservation):
            move.unknown = reservation.id


def excess_of(counter: CounterKey, held: int, taken: int) -> int:
    """What a call took above its hold, in a counter where calls hold the most that they can take; else 0."""
    return max(0, taken - held) if holds_most(counter.limit_id) else 0


def lacks_price(counter: CounterKey, settlement: Settlement) -> bool:
    """Whether the counter needs a cost that the settlement does not have."""
    return settlement.cost_nano_usd == UNKNOWN_COST and kind_of(counter.limit_id).needs_price
