"""Reservations: the room that calls in flight hold in counters, and how they end.

A counter is one limit, in one window, for one scope. Its `settled` is what finished calls took; its `reserved` is what
calls in flight hold. A reservation adds to `reserved` of all its counters at once and ends exactly once. It settles,
which replaces its hold by the actual amount in `settled`, or it is released, which only removes the hold. An unmeasured
call settles at an estimate, and the rest of the most that it can have taken moves to `doubt`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from services.kernel.dialect import Dialect
from services.kernel.settlement import Most
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.limit_id import kind_of


class Hold(NamedTuple):
    """The room that a reservation holds in one counter."""

    counter: CounterKey
    window_end_ms: int
    held: int
    ceiling: int | None = None
    """The most that settled, reserved and this hold together may reach: the bound at the decision. None: no bound.

    The store checks it when it reserves, because others may have moved the counter since we read it.
    """
    trailing: tuple[CounterKey, ...] = ()
    """In a rolling window, the counters of its other parts, which count under the same ceiling."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A call that was admitted and has not ended."""

    id: str
    """The id of the reservation and of the ledger's entry. Ids sort by time."""
    request_id: str
    """Envoy's id of the request, by which we can release a call that only Envoy knows."""
    epoch: str
    """The run of Envoy that carries the call."""
    created_at_ms: int
    attribution: Attribution
    model: str
    """The model, as the client named it."""
    chain: tuple[str, ...]
    """The allowed targets, "provider/model", in the order of attempts."""
    dialect: Dialect
    expected_input_tokens: int
    """The input that we book if nobody ever reports what the call took."""
    expected_output_tokens: int
    holds: tuple[Hold, ...]
    output_cap_tokens: int = 0
    """The output of all choices to which the limits cut the call; 0: no cut."""
    text_bytes: int = 0
    """The size of the request if all its input is text; 0: some of it is not."""
    run: str = ""
    """The client's name for the run of the call; empty if it names none."""
    most: Most | None = None
    """The most that the call can take, for limits that may apply to it later. None: nobody noted it."""
    unknown_members: bool = False
    """The request has members or header values that the gateway does not know."""
    policies: str = field(default="", compare=False)
    """The version of the policies that decided; empty if none did. Only the act of reserving needs it."""


def holds_unknown(counter: CounterKey, reservation: Reservation) -> bool:
    """Whether a call holds money in this counter for unknown members of its request."""
    return reservation.unknown_members and kind_of(counter.limit_id).needs_price
