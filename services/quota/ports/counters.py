"""The ports of a counter store.

A counter store implements all of these ports, and each use case takes only those that it needs. Every method is atomic
and safe to call from any thread. If a store cannot be read or written, its methods raise
`services.kernel.errors.Unavailable`, and nothing was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from services.kernel.errors import Unavailable
from services.quota.domain.counters.adjustment import Adjusted, Adjustment
from services.quota.domain.counters.allowance import Taken
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.crossing import Crossing, FindThresholdRule
from services.quota.domain.counters.doubt import Doubt, Goes
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.directory.adoption import Adoption

T = TypeVar("T")

Choose = Callable[[Sequence[Level]], tuple[Reservation | None, T]]
"""Takes the levels of the requested counters, in their order. Returns what to reserve, if anything, and the answer."""

ChooseWithin = Callable[[Sequence[Taken]], tuple[Reservation | None, T]]
"""Takes the used amounts of the requested allowances, in their order. Returns what to admit, if anything, and the
answer."""

HoldAgain = Callable[[Sequence[Reservation]], None]
"""Holds room for reservations made elsewhere, whatever the bounds say."""

PutBack = Callable[[HoldAgain, Collection[str] | None], int]
"""Hands over the reservations of calls admitted without the counters, all or those with these ids, and then forgets
them. Returns their number."""


class Counter(NamedTuple):
    """A counter and its level, as lists show them."""

    key: CounterKey
    window_end_ms: int
    level: Level


class Sum(NamedTuple):
    """What finished calls took of a counter, as the ledger knows it."""

    key: CounterKey
    window_end_ms: int
    settled: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of a batch of settlements."""

    settled: tuple[Reservation, ...]
    """The reservations that were open and have now ended, in the order of the batch."""
    already_ended: tuple[str, ...]
    """The ids of reservations that had ended before, or that never existed."""


class StoreUnreachable(Unavailable):
    """The counters cannot be read or written now, or are not reliable."""


class PoliciesChanged(Exception):  # noqa: N818  (an internal outcome, not an error)
    """The policies that decided a call are no longer in force. Nothing changed: decide again."""


class Reservations(Protocol):
    """Room for calls: everything that the hot path needs from a store."""

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        """Reads the counters, lets `choose` decide, and reserves its result, all in one atomic step.

        If somebody else took that room meanwhile, `choose` decides again.

        Raises:
            PoliciesChanged: other policies than the last adopted ones decided the reservation.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Settles reservations with what their calls took, and records newly passed thresholds.

        A repetition changes nothing, even within one batch, with one exception: a settlement without `most` says that
        the usage is known after all, and ends the doubt of an earlier settlement.
        """
        ...

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Releases reservations without a charge. Returns how many were open."""
        ...


class OpenReservations(Protocol):
    """Lists reservations that have not ended."""

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` open reservations of these epochs, or made before this moment, oldest first."""
        ...

    def open_after(self, reservation_id: str, limit: int) -> list[str]:
        """The ids of at most `limit` open reservations after this id, oldest first. After an empty id come all."""
        ...

    def open_count(self) -> int:
        """The number of open reservations."""
        ...


class Counters(Protocol):
    """Reads counters without holding anybody up."""

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        ...

    def counters_at(self, now_ms: int) -> Iterator[Counter]:
        """The counters whose windows contain this moment, in no particular order. Each is seen at its own moment.

        They come in parts, and calls get their decisions between two parts.
        """
        ...


class CrossingLog(Protocol):
    """The recorded crossings of counters, for alerts."""

    def crossings_after(self, sequence: int, limit: int) -> list[Crossing]:
        """At most `limit` crossings with a higher sequence number, ascending."""
        ...


class Adjustments(Protocol):
    """Adjusts counters to what the ledger says, and keeps the last `MAX_KEPT` adjustments."""

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Adjusts counters that still have the expected amount, and records passed thresholds.

        A repetition changes nothing. Returns how many counters it adjusted.

        Raises:
            InvalidInput: an amount is out of range; nothing was changed.
        """
        ...

    def adjustments_before(self, sequence: int | None, limit: int) -> list[Adjusted]:
        """At most `limit` adjustments with a lower sequence number, newest first. None: from the newest on."""
        ...


class Recovery(Protocol):
    """Rebuilds lost counters."""

    def is_ready(self) -> bool:
        """Whether the counters are reliable. False: the store lost them, and they wait for `restore`."""
        ...

    def lost(self) -> list[str]:
        """The ids of lost open reservations, whose holds `restore` would put back."""
        ...

    def restore(self, sums: Sequence[Sum], ended: Collection[str] = ()) -> None:
        """Sets the settled amounts of these counters, releases the reservations that `ended`, and leaves the others.

        A store that lost its counters is ready from then on. It holds room again for all open calls, but not for those
        that had `ended` before the loss, because the sums contain them. The sums contain only acknowledged settlements;
        the others come again.

        Raises:
            InvalidInput: a sum is out of range; nothing was changed.
        """
        ...


class DoubtStore(Protocol):
    """The doubts of calls."""

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first. After an empty id come all."""
        ...

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them. It settles nothing."""
        ...


class PolicyAdoption(Protocol):
    """Moves calls in flight to other policies."""

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Moves the holds and doubts of calls to other policies, and calls `switch`, all in one atomic step.

        The settled amounts and crossings of a renamed policy move to its new name. A repetition changes nothing.

        Raises:
            StoreUnreachable: the holds of calls did not change. `switch` was still called: the store admits nobody by
            policies that it did not adopt.
        """
        ...


class CounterStore(
    Reservations,
    OpenReservations,
    Counters,
    CrossingLog,
    Adjustments,
    Recovery,
    DoubtStore,
    PolicyAdoption,
    Protocol,
):
    """A complete store, for the code that opens one. A use case takes only the ports that it needs."""

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that hold nothing and that nobody has needed since this moment, together with their doubt.

        Returns how many it dropped.
        """
        ...


class Allowances(Protocol):
    """What calls took of allowances, and their holds in counters for later. Safe to use from any thread.

    Raises:
        services.kernel.errors.Unavailable: the store cannot be read or written now; nothing was taken.
    """

    def take(self, allowances: Sequence[CounterKey], choose: ChooseWithin[T]) -> T:
        """Lets `choose` decide, and takes for good what its reservation holds in these allowances.

        It keeps the other holds until the counters are back. `choose` decides again if another quota process took
        something meanwhile.
        """
        ...
