"""What the use cases need from outside. The adapters fulfil it; nothing here is fulfilled twice in production."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from services.kernel.change import AuditEntry
from services.kernel.price import Price
from services.ledger.domain.call import SpooledAttempt
from services.ledger.domain.configuration import Configuration, PricedTarget
from services.ledger.domain.counting import Adjustment, CounterList, Span, Sum, Taken
from services.ledger.domain.entry import BookedCall, Entry, OverdueReservation
from services.ledger.domain.selection import CallQuery, Filter, UsageQuery, UsageSums
from services.ledger.domain.settlement import Alert, Crossing, Settlement
from services.ledger.domain.spooled import Booking, SpoolBatch, SpoolFile


class Spool(Protocol):
    """Envoy's files, read."""

    def files(self) -> Sequence[SpoolFile]:
        """All files in the order in which they are to be booked."""
        ...

    def read(self, file: SpoolFile, offset: int) -> SpoolBatch | None:
        """The next whole lines from `offset` on; None when there is none yet."""
        ...

    def backlog_bytes(self, checkpoints: Mapping[tuple[str, int], int]) -> int:
        """Bytes behind the checkpoints."""
        ...

    def tidy(self, booked: Mapping[tuple[str, int], int]) -> Sequence[SpoolFile]:
        """Rotates files that are too large and deletes old ones that are closed and booked.

        Returns the files that it deleted.
        """
        ...


class EntryStore(Protocol):
    """Entries, attempts, rollups and checkpoints: written together or not at all."""

    def checkpoints(self) -> dict[tuple[str, int], int]:
        """Offset behind the last booked line of each file, by `SpoolFile.identity`."""
        ...

    def attempts_of(self, request_ids: Sequence[str]) -> dict[str, list[SpooledAttempt]]:
        """Recorded attempts by request id."""
        ...

    def book(self, booking: Booking) -> list[Entry]:
        """Writes a booking in one transaction. Returns the entries that were not there before."""
        ...

    def forget(self, file: SpoolFile) -> None:
        """Drops the checkpoint of a file that is to be deleted."""
        ...


class Outbox(Protocol):
    """What quota must be told, and what it told."""

    def unsettled(self, limit: int) -> list[Settlement]:
        """Entries of which quota does not know, oldest first."""
        ...

    def mark_settled(self, reservations: Sequence[str], crossings: Sequence[Crossing], now_ms: int) -> None:
        """Settles entries and stores the crossings that are new, in one transaction."""
        ...

    def settled_of(self, reservations: Collection[str]) -> set[str]:
        """Those of them whose entries are settled."""
        ...

    def unsettled_but(self, reservations: Collection[str]) -> list[str]:
        """Entries of which quota does not know, but for these."""
        ...

    def last_crossing(self) -> int:
        """Sequence number of the newest crossing, 0 for none."""
        ...

    def pending_releases(self, limit: int) -> list[str]:
        """Request ids to release."""
        ...

    def mark_released(self, request_ids: Sequence[str]) -> None:
        """Drops them."""
        ...


class Epochs(Protocol):
    """Runs of Envoy that are over."""

    def ended(self) -> set[str]:
        """All that are known to be over and booked."""
        ...

    def uncleared(self) -> list[str]:
        """Those of them of which quota may still hold a reservation."""
        ...

    def end(self, epoch: str, now_ms: int) -> None:
        """Notes that one is over and booked."""
        ...

    def clear(self, epochs: Sequence[str], ended_before_ms: int, now_ms: int) -> None:
        """Notes that quota holds nothing of those that ended before a moment."""
        ...


class Quota(Protocol):
    """The quota service. Raises `Unavailable` when it does not answer."""

    def settle(self, settlements: Sequence[Settlement], crossings_after: int) -> tuple[set[str], list[Crossing]]:
        """Ends reservations. Returns the ids that are ended now, and crossings with a higher sequence number."""
        ...

    def release(self, request_ids: Sequence[str]) -> None:
        """Ends reservations of requests that never left the gateway."""
        ...

    def overdue(
        self, ended_epochs: Sequence[str], booked_through_ms: int | None, limit: int
    ) -> list[OverdueReservation]:
        """Reservations of which no record can come any more."""
        ...


class OpenReservations(Protocol):
    """What the quota service holds. Raises `Unavailable` when it does not answer."""

    def open_after(self, reservation: str, limit: int) -> list[str]:
        """Ids of at most `limit` reservations that have not ended, behind this id, oldest first."""
        ...

    def release_reservations(self, reservations: Sequence[str]) -> int:
        """Ends reservations without a charge. Returns how many were open."""
        ...


@dataclass(frozen=True, slots=True)
class CounterState:
    """What quota says of its counters."""

    ready: bool
    """False: they were lost."""
    limits_version: str
    """Changes whenever a policy does."""
    held: tuple[str, ...] = ()
    """Ids of open reservations that were lost with the counters, and would be put back."""


class QuotaCounters(Protocol):
    """The counters of the quota service. Raises `Unavailable` when it does not answer."""

    def state(self) -> CounterState:
        """Whether the counters can be believed, and which limits are in force."""
        ...

    def list_counters(self) -> CounterList:
        """All counters of the present windows."""
        ...

    def adjust(self, adjustments: Sequence[Adjustment], crossings_after: int) -> tuple[int, list[Crossing]]:
        """Moves counters that still are where they were listed.

        Returns how many were moved, and crossings with a higher sequence number.
        """
        ...

    def restore(self, sums: Iterable[Sum], ended: Collection[str]) -> None:
        """Sets all counters after they were lost, and has put back what calls hold that have not `ended`."""
        ...


class SettledSums(Protocol):
    """What was settled with quota, added up, and which limits were compared with it."""

    def taken(self, span: Span) -> AbstractContextManager[Iterator[Taken]]:
        """What calls of the same properties took, each combination once."""
        ...

    def checked_limits(self) -> set[str]:
        """Names of the limits whose counters were once brought to what the entries say."""
        ...

    def set_checked_limits(self, names: set[str]) -> None:
        """Notes that these were, and no others."""
        ...


class Catalogue(Protocol):
    """Published prices."""

    version: str

    def price(self, provider: str, model: str, time_ms: int) -> Price | None:
        """Price of a model at a time, None when it has none that we can charge exactly."""
        ...


class ConfigurationStore(Protocol):
    """Price overrides, alert channels, and what the targets of the route plan are called in the catalogue."""

    def configuration(self) -> Configuration:
        """What is in force."""
        ...

    def replace(self, configuration: Configuration, entries: Sequence[AuditEntry]) -> None:
        """Puts another in force and adds the audit entries that tell of it, in one transaction."""
        ...

    def targets(self) -> dict[str, PricedTarget]:
        """Targets that were ever asked for, by name."""
        ...

    def remember(self, targets: Sequence[PricedTarget]) -> None:
        """Adds or replaces targets."""
        ...


CallPosition = tuple[int, int]
"""Time in ms and sequence number of a call: no two calls have the same."""


class Reports(Protocol):
    """Reads what is booked."""

    def usage(self, query: UsageQuery) -> list[UsageSums]:
        """Sums from the rollups, by cost, highest first."""
        ...

    def calls(self, query: CallQuery, after: CallPosition | None, limit: int) -> list[BookedCall]:
        """Calls in the order of the query, from behind `after` on."""
        ...

    def call(self, call_id: str) -> BookedCall | None:
        """One call by its id or by Envoy's request id."""
        ...

    def calls_after(self, selection: Filter, sequence: int, limit: int) -> tuple[int, list[BookedCall]]:
        """Calls booked after `sequence`, in the order of booking, and the sequence number to go on from."""
        ...

    def newest_sequence(self) -> int:
        """Sequence number of the last booked call, 0 for none."""
        ...

    def alerts(self, before: int | None, limit: int) -> list[Alert]:
        """Alerts newest first, with sequence numbers below `before`."""
        ...


class CostSpans(Protocol):
    """Traces of cost."""

    def emit(self, entries: Sequence[Entry]) -> None:
        """Writes one span for each entry that belongs to a trace. Never raises."""
        ...
