"""What the use cases need from outside. Each port is small; fakes pass the same contract suite as real adapters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from services.kernel.change import AuditEntry
from services.kernel.errors import Unavailable
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.unmeasured import Guide
from services.quota.domain.counters.adjustment import Adjusted, Adjustment
from services.quota.domain.counters.allowance import Taken
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.crossing import Crossing, FindThresholdRule
from services.quota.domain.counters.doubt import Doubt, Goes
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.directory import Directory

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

RecordedChange = Callable[[Directory], tuple[Directory, Sequence[AuditEntry]]]
"""Given all that is stored: what is to be stored in its place, and the audit entries that tell of the difference."""


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


class CounterStore(Protocol):
    """Counters and open reservations. Every method is atomic and may be called from any thread.

    Raises:
        services.kernel.errors.Unavailable: the store cannot be read or written now; nothing was changed.
    """

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        """Reads the counters, lets `choose` decide, and reserves what it says, with nobody in between.

        `choose` is asked again when somebody else took the room that it gave away.

        Raises:
            PoliciesChanged: those that its reservation was decided by are not the ones that were adopted last.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Ends reservations with what their calls took, and notes the thresholds that are newly passed.

        Settling twice changes nothing, also within one batch. Only that what a call left in doubt ends when what it
        took is known after all: whoever settles it again with that leaves `most` out.
        """
        ...

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Ends reservations without a charge. Returns how many of them were open."""
        ...

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Gives back what is meant of what these calls left in doubt. Returns it. Nothing is settled by that."""
        ...

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Lets what calls hold and left in doubt count under other policies, and calls `switch`, nobody in between.

        What is settled in counters, and what was told of them, follows policies that were renamed. Doing it twice
        changes nothing.

        Raises:
            StoreUnreachable: what calls hold is as it was. `switch` was called all the same: nobody is admitted by
                policies that were not adopted.
        """
        ...

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that stopped to matter before this moment and hold nothing. Returns how many.

        What is in doubt of such counters goes with them.
        """
        ...

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Moves what is settled where it is as the adjustment says, keeps a record of it, and notes thresholds.

        Adjusting twice changes nothing. Returns how many counters were moved.

        Raises:
            InvalidInput: an amount is out of range; nothing was changed.
        """
        ...

    def is_ready(self) -> bool:
        """Whether the counters can be believed. False: they were lost, and wait for `restore`."""
        ...

    def lost(self) -> list[str]:
        """Ids of open reservations that `restore` would put back, all of which were lost."""
        ...

    def restore(self, sums: Sequence[Sum], ended: Collection[str] = ()) -> None:
        """Sets what is settled in these counters, releases what `ended`, and leaves the rest of what is reserved.

        A store that lost its counters is ready from then on, and has got back what calls hold, but for what had
        `ended` before: it is in the sums.
        The sums are those of settlements that were acknowledged: others come again.

        Raises:
            InvalidInput: a sum is out of range; nothing was changed.
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


class CounterReader(Protocol):
    """Looks at counters and open reservations without holding anybody up.

    Raises:
        services.kernel.errors.Unavailable: the store cannot be read now.
    """

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        ...

    def counters_at(self, now_ms: int) -> list[Counter]:
        """The counters whose windows contain this moment, by key."""
        ...

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` open reservations of these epochs, or made before this moment, oldest first."""
        ...

    def open_after(self, reservation_id: str, limit: int) -> list[str]:
        """Ids of at most `limit` open reservations behind this id, oldest first. Behind an empty one are all."""
        ...

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        """What at most `limit` calls behind this id left in doubt, oldest first. Behind an empty one are all."""
        ...

    def crossings_after(self, sequence: int, limit: int) -> list[Crossing]:
        """At most `limit` crossings with a higher sequence number, ascending."""
        ...

    def adjustments_before(self, sequence: int | None, limit: int) -> list[Adjusted]:
        """At most `limit` of the last `MAX_KEPT` adjustments, those with lower sequence numbers, newest first."""
        ...

    def open_count(self) -> int:
        """How many reservations have not ended."""
        ...


class Expectations(Protocol):
    """What calls of a key for a model took lately. Bounded; may be called from any thread."""

    def get(self, key_id: str, model: str) -> Tokens | None:
        """What to expect; None when nothing is known."""
        ...

    def guide(self, key_id: str, model: str) -> Guide:
        """What an estimate goes by of a call that no provider measured."""
        ...

    def learn(self, samples: Sequence[UsageSample]) -> None:
        """Learns from calls."""
        ...


class KeyRates(Protocol):
    """What keys usually spend in a minute. Bounded; may be called from any thread."""

    def typical_nano_usd(self, key_id: str) -> int:
        """In a minute in which it spends at all; 0 when nothing is known."""
        ...

    def add(self, spent: Sequence[tuple[str, int, int]]) -> None:
        """Adds calls, each as key id, cost in nano-USD and the moment of its end in milliseconds."""
        ...


class DirectoryStore(Protocol):
    """Keeps teams, keys, policies, overrides and admin tokens, and what was ever changed of them.

    Raises:
        services.kernel.errors.Unavailable: the store cannot be read or written now; nothing was changed.
    """

    def load(self) -> Directory:
        """All that is stored."""
        ...

    def newer(self) -> Directory | None:
        """All that is stored, if it is not what this store returned last here or by `replace`; else None."""
        ...

    def replace(self, change: RecordedChange) -> Directory:
        """Stores what `change` makes of all that is stored, with its audit entries, in one transaction.

        Returns what is stored then.
        """
        ...


class AuditTrail(Protocol):
    """Keeps for good what was done.

    Raises:
        services.kernel.errors.Unavailable: it cannot be written now; nothing was added.
    """

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Adds entries of what changes elsewhere than in the directory, which is stored with its own."""
        ...


class SnapshotStore(Protocol):
    """Keeps the last plan and prices as they were received, so that quota starts without router and ledger."""

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces what is kept under `name`."""
        ...

    def load(self, name: str) -> bytes | None:
        """What is kept under `name`, None when nothing ever was."""
        ...


class DiskSpace(Protocol):
    """Tells whether the disk has room for the spool. Asks the system at most once a second."""

    def is_low(self) -> bool:
        """Whether so little is left that no call may start."""
        ...
