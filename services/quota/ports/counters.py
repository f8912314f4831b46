"""Counters and what calls hold of them.

A store of counters is all of these ports. Each use case takes those that it needs. Every method is atomic and may be
called from any thread. If a store cannot be read or written, its methods raise `services.kernel.errors.Unavailable`,
and nothing was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
"""Given the levels of the asked counters, in their order: what to reserve, if anything, and what to answer."""

ChooseWithin = Callable[[Sequence[Taken]], tuple[Reservation | None, T]]
"""Given what was taken of the asked allowances, in their order: what to let through, if anything, and the answer."""

HoldAgain = Callable[[Sequence[Reservation]], None]
"""Holds reservations that were made elsewhere, whatever the bounds say."""

PutBack = Callable[[HoldAgain, Collection[str] | None], int]
"""Hands over the reservations of calls that were let through without the counters, all of them or these by id, and
forgets what was held. Returns how many that were."""


class Counter(NamedTuple):
    """A counter and its level, as it is listed."""

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
    """What came of a batch of settlements."""

    settled: tuple[Reservation, ...]
    """Were open and have ended now, in the order of the batch."""
    already_ended: tuple[str, ...]
    """Ids that had ended before, or of which nothing was ever known."""


class StoreUnreachable(Unavailable):
    """Counters can be neither read nor written now, or what they say cannot be believed."""


class PoliciesChanged(Exception):  # noqa: N818  (an outcome that is told to nobody, and no error)
    """The policies that a call was being decided by are not in force any more. Nothing was changed: decide anew."""


class Reservations(Protocol):
    """Room for calls: all that the path of a call needs of a store."""

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        """Reads the counters, lets `choose` decide, and reserves what it returns, with nobody in between.

        If somebody else took that room meanwhile, `choose` decides again.

        Raises:
            PoliciesChanged: the reservation was decided by other policies than those adopted last.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Ends reservations with what their calls took, and notes the thresholds that are newly passed.

        Settling twice changes nothing, also within one batch, with one exception: a settlement without `most` says
        that the usage of a call is known after all, and ends the doubt that an earlier one left.
        """
        ...

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Ends reservations without a charge. Returns how many of them were open."""
        ...


class OpenReservations(Protocol):
    """Lists reservations that have not ended."""

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` of those of these epochs, or made before this moment, oldest first."""
        ...

    def open_after(self, reservation_id: str, limit: int) -> list[str]:
        """Ids of at most `limit` of those behind this id, oldest first. An empty id means all."""
        ...

    def open_count(self) -> int:
        """How many there are."""
        ...


class Counters(Protocol):
    """Reads counters without holding anybody up."""

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        ...

    def counters_at(self, now_ms: int) -> list[Counter]:
        """The counters whose windows contain this moment, by key."""
        ...


class CrossingLog(Protocol):
    """What was noted of counters, for whoever alerts people."""

    def crossings_after(self, sequence: int, limit: int) -> list[Crossing]:
        """At most `limit` crossings with a higher sequence number, ascending."""
        ...


class Adjustments(Protocol):
    """Moves counters to what the ledger says, and keeps the last `MAX_KEPT` of such moves."""

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Moves the counters that still stand where their adjustment says, and notes thresholds.

        Adjusting twice changes nothing. Returns how many counters were moved.

        Raises:
            InvalidInput: an amount is out of range; nothing was changed.
        """
        ...

    def adjustments_before(self, sequence: int | None, limit: int) -> list[Adjusted]:
        """At most `limit` adjustments with a lower sequence number, newest first. None means all."""
        ...


class Recovery(Protocol):
    """Rebuilds counters that were lost."""

    def is_ready(self) -> bool:
        """Whether the counters can be believed. False: they were lost, and wait for `restore`."""
        ...

    def lost(self) -> list[str]:
        """Ids of the open reservations that were lost. `restore` would put them back."""
        ...

    def restore(self, sums: Sequence[Sum], ended: Collection[str] = ()) -> None:
        """Sets what is settled in these counters, releases the reservations that `ended`, and leaves the others.

        A store that lost its counters is ready from then on. It holds again what calls held, but for those that had
        `ended` before the loss: the sums contain them. The sums are those of acknowledged settlements: the others come
        again.

        Raises:
            InvalidInput: a sum is out of range; nothing was changed.
        """
        ...


class DoubtStore(Protocol):
    """What calls left in doubt."""

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        """What at most `limit` calls behind this id left in doubt, oldest first. An empty id means all."""
        ...

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Gives back the part that `goes` of what these calls left in doubt. Returns that part. Settles nothing."""
        ...


class PolicyAdoption(Protocol):
    """Takes calls in flight over to other policies."""

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Counts what calls hold and left in doubt under other policies, and calls `switch`, with nobody in between.

        If a policy was renamed, its settled amounts and its crossings go over to the new name. Doing it twice changes
        nothing.

        Raises:
            StoreUnreachable: what calls hold is as it was. `switch` was called all the same: nobody is admitted by
                policies that were not adopted.
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
    """All that a store does. For those that open one; a use case takes the ports that it needs."""

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that hold nothing and are not needed since this moment, and what is in doubt of them.

        Returns how many.
        """
        ...


class Allowances(Protocol):
    """What calls took of allowances, and what they hold of the counters meanwhile. May be used from any thread.

    Raises:
        services.kernel.errors.Unavailable: it cannot be read or written now; nothing was taken.
    """

    def take(self, allowances: Sequence[CounterKey], choose: ChooseWithin[T]) -> T:
        """Lets `choose` decide, and takes what its reservation holds of these allowances, for good.

        All else that it holds is kept until the counters can be written. `choose` is asked again when another quota
        took something meanwhile.
        """
        ...
