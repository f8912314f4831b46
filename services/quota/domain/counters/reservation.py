"""Reservations, the counters that they hold room in, and what ends them.

A counter is one limit, in one window, for one scope. `settled` is what finished calls took, `reserved` what calls in
flight hold. A reservation adds to `reserved` of all its counters at once and ends exactly once: settled, which moves
its hold to `settled` at the actual amount, or released, which only takes it away. A call whose end nobody measured is
settled at an estimate, and the rest of the most that it can have taken moves to `doubt`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from services.kernel.limit_kind import CallQuantities, LimitKind
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.limit_id import kind_of

UNBOUNDED = -1
# Far enough below zero that no other part of a sum lifts it.
_NO_BOUND = -(2**100)


class Hold(NamedTuple):
    """The room that a reservation holds in one counter."""

    counter: CounterKey
    window_end_ms: int
    held: int
    ceiling: int | None = None
    """What settled, reserved and this hold may come to: the bound under which it was chosen. None: nothing bounds it.

    Matters while the reservation is made, to a store in which others may have moved the counter since it was read.
    """
    trailing: tuple[CounterKey, ...] = ()
    """Counters that add to this one under the ceiling, in a window that rolls. Matter as long as the ceiling does."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A call that was admitted and has not ended."""

    id: str
    """Sorts by time. Also the id of the ledger's entry."""
    request_id: str
    """Envoy's, so that a call of which only Envoy knows can be released."""
    epoch: str
    """The run of Envoy that carries the call."""
    created_at_ms: int
    attribution: Attribution
    model: str
    """As the client asked."""
    chain: tuple[str, ...]
    """ "provider/model" of each attempt that is allowed, in order."""
    dialect: str
    expected_input_tokens: int
    """What is booked when nobody ever says what the call took."""
    expected_output_tokens: int
    holds: tuple[Hold, ...]
    output_cap_tokens: int = 0
    """Output of all choices to which the limits cut the call; 0: they did not."""
    text_bytes: int = 0
    """Of the request, all of whose input is text; 0: not all of it is."""
    run: str = ""
    """What the client names the run that the call belongs to, empty when it names none."""
    most: Most | None = None
    """The most that the call can take, whatever it holds now: limits may begin to concern it. None: nobody noted it."""
    unknown_members: bool = False
    """The request has members, or values of headers, that nobody here knows."""
    policies: str = field(default="", compare=False)
    """Version of the policies that it was decided by, empty when none decided. Matters while it is made."""


@dataclass(frozen=True, slots=True)
class Most:
    """The most that a call can take.

    Of a call whose end nobody measured it is the most that it can have taken. `UNBOUNDED`: nothing bounds it but its
    hold.
    """

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int

    def of(self, kind: LimitKind) -> int | None:
        """The most that a limit of this kind can count of the call; None: nothing bounds it."""
        quantities = (self.cost_nano_usd, self.input_tokens, self.output_tokens)
        amount = kind.measure(CallQuantities(*(_NO_BOUND if each == UNBOUNDED else each for each in quantities)))
        return None if amount < 0 else amount


def holds_unknown(counter: CounterKey, reservation: Reservation) -> bool:
    """Whether a call holds money for what nobody here knows of its request."""
    return reservation.unknown_members and kind_of(counter.limit_id).needs_price
