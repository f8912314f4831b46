"""The ports of the ledger's use cases. Each has one adapter in production."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from services.kernel.change import AuditEntry
from services.kernel.price import Price
from services.kernel.repetition import Answered, RequestMemory
from services.ledger.domain.call import SpooledAttempt
from services.ledger.domain.configuration import Configuration, PricedTarget
from services.ledger.domain.counting import Adjustment, CounterList, Span, Sum, Taken
from services.ledger.domain.entry import BookedCall, Entry, OverdueReservation
from services.ledger.domain.lead_switch import LeadSwitch, SwitchAlert
from services.ledger.domain.refusal import Refusal
from services.ledger.domain.selection import CallQuery, Filter, UsageQuery, UsageSums
from services.ledger.domain.settlement import Alert, Crossing, Settlement
from services.ledger.domain.spooled import Booking, SpoolBatch, SpoolFile
from services.ledger.domain.traced import Traced


class Spool(Protocol):
    """Reads Envoy's files."""

    def files(self) -> Sequence[SpoolFile]:
        """Returns all files in booking order."""
        ...

    def read(self, file: SpoolFile, offset: int) -> SpoolBatch | None:
        """Returns the next whole lines from `offset` on, or None when there is none yet."""
        ...

    def backlog_bytes(self, checkpoints: Mapping[tuple[str, int], int]) -> int:
        """Counts the bytes after the checkpoints."""
        ...

    def tidy(self, booked: Mapping[tuple[str, int], int]) -> Sequence[SpoolFile]:
        """Rotates files that are too large and deletes old files that are closed and booked.

        Returns the deleted files.
        """
        ...


class EntryStore(Protocol):
    """Entries, attempts, rollups and checkpoints, written together or not at all."""

    def checkpoints(self) -> dict[tuple[str, int], int]:
        """Returns the offset after the last booked line of each file, by `SpoolFile.identity`."""
        ...

    def attempts_of(self, request_ids: Sequence[str]) -> dict[str, list[SpooledAttempt]]:
        """Returns recorded attempts by request id."""
        ...

    def book(self, booking: Booking) -> list[Entry]:
        """Writes a booking in one transaction. Returns the entries that are new."""
        ...

    def forget(self, file: SpoolFile) -> None:
        """Drops the checkpoint of a file that is about to be deleted."""
        ...


class Outbox(Protocol):
    """Settlements and releases that quota does not know yet, and crossings that it reported."""

    def unsettled(self, limit: int) -> list[Settlement]:
        """Returns entries that quota does not know, oldest first."""
        ...

    def mark_settled(self, reservations: Sequence[str], crossings: Sequence[Crossing], now_ms: int) -> None:
        """Settles entries and stores new crossings, in one transaction."""
        ...

    def settled_of(self, reservations: Collection[str]) -> set[str]:
        """Returns the reservations among these whose entries are settled."""
        ...

    def unsettled_but(self, reservations: Collection[str]) -> list[str]:
        """Returns the entries that quota does not know, except these."""
        ...

    def last_crossing(self) -> int:
        """Returns the sequence number of the newest crossing, 0 for none."""
        ...

    def pending_releases(self, limit: int) -> list[str]:
        """Returns request ids to release."""
        ...

    def mark_released(self, request_ids: Sequence[str]) -> None:
        """Drops request ids that are released."""
        ...


class SwitchStore(Protocol):
    """Switches of who leads a model."""

    def known_switches(self, ids: Collection[str]) -> set[str]:
        """Returns the ids among these that are recorded."""
        ...

    def add_switches(self, switches: Sequence[tuple[LeadSwitch, Sequence[str]]], now_ms: int) -> None:
        """Records switches with the channels to tell, each id once, in one transaction."""
        ...


class Recipients(Protocol):
    """Who is to be told, as the quota service knows it. Raises `Unavailable` when it does not answer."""

    def recipients_of(self, model: str) -> tuple[str, ...]:
        """Returns the names of the alert channels for switches of a model."""
        ...


class Epochs(Protocol):
    """Runs of Envoy that are over."""

    def ended(self) -> set[str]:
        """Returns all epochs known to be over and booked."""
        ...

    def uncleared(self) -> list[str]:
        """Returns the ended epochs that quota may still hold reservations of."""
        ...

    def end(self, epoch: str, now_ms: int) -> None:
        """Records that an epoch is over and booked."""
        ...

    def clear(self, epochs: Sequence[str], ended_before_ms: int, now_ms: int) -> None:
        """Records that quota holds nothing for these epochs, if they ended before a moment."""
        ...


class Books(EntryStore, Outbox, Epochs, Protocol):
    """The ledger's records of calls. Each method is one transaction over one database."""


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
        """Lists reservations that can no longer get a record."""
        ...


class OpenReservations(Protocol):
    """Reservations held by the quota service. Raises `Unavailable` when it does not answer."""

    def open_after(self, reservation: str, limit: int) -> list[str]:
        """Returns the ids of at most `limit` open reservations after this id, oldest first."""
        ...

    def release_reservations(self, reservations: Sequence[str]) -> int:
        """Ends reservations without a charge. Returns how many were open."""
        ...


@dataclass(frozen=True, slots=True)
class CounterState:
    """The state of quota's counters."""

    ready: bool
    """False after a loss."""
    limits_version: str
    """Changes whenever a policy does."""
    held: tuple[str, ...] = ()
    """Ids of open reservations that were lost with the counters, and would be put back."""


class QuotaCounters(Protocol):
    """The counters of the quota service. Raises `Unavailable` when it does not answer."""

    def state(self) -> CounterState:
        """Returns whether the counters can be trusted, and which limits are in force."""
        ...

    def list_counters(self) -> CounterList:
        """Returns all counters of the current windows. If quota goes away meanwhile, its limits raise `Unavailable`."""
        ...

    def adjust(self, adjustments: Sequence[Adjustment], crossings_after: int) -> tuple[int, list[Crossing]]:
        """Moves counters that still have their listed value.

        Returns how many it moved, and crossings with a higher sequence number.
        """
        ...

    def restore(self, sums: Iterable[Sum], ended: Collection[str]) -> None:
        """Sets all counters after a loss. Quota then puts back what calls hold, except for the `ended`."""
        ...


class SettledSums(Protocol):
    """Sums of calls settled with quota, and the limits already compared with them."""

    def taken(self, span: Span) -> AbstractContextManager[Iterator[Taken]]:
        """Yields the totals of calls with the same properties, each combination once."""
        ...

    def checked_limits(self) -> set[str]:
        """Returns the names of limits whose counters were once set to match the entries."""
        ...

    def set_checked_limits(self, names: set[str]) -> None:
        """Replaces that list of names."""
        ...


class Catalogue(Protocol):
    """Published prices."""

    version: str

    def price(self, provider: str, model: str, time_ms: int) -> Price | None:
        """Returns the price of a model at a time, or None when it has none that we can charge exactly."""
        ...


class ConfigurationStore(RequestMemory, Protocol):
    """Price overrides, alert channels, and the catalogue's names for targets of the route plan."""

    def configuration(self) -> Configuration:
        """Returns the configuration in force."""
        ...

    def replace(
        self, configuration: Configuration, entries: Sequence[AuditEntry], answered: Answered[object] | None = None
    ) -> None:
        """Puts another configuration in force, with its audit entries and its request, in one transaction."""
        ...

    def targets(self) -> dict[str, PricedTarget]:
        """Returns all targets ever asked for, by name."""
        ...

    def remember(self, targets: Sequence[PricedTarget]) -> None:
        """Adds or replaces targets."""
        ...


CallPosition = tuple[int, int]
"""Time in ms and sequence number of a call. No two calls share them."""


AlertPosition = tuple[int, int, int]
"""Time in ms, 1 for a switch and 0 for an alert about a limit, sequence number. No two alerts share them."""


class Reports(Protocol):
    """Reads the books."""

    def usage(self, query: UsageQuery) -> list[UsageSums]:
        """Returns sums from the rollups, highest cost first."""
        ...

    def calls(self, query: CallQuery, after: CallPosition | None, limit: int) -> list[BookedCall]:
        """Returns calls after `after`, in the order of the query."""
        ...

    def call(self, call_id: str) -> BookedCall | None:
        """Returns one call by its id or by Envoy's request id."""
        ...

    def calls_after(self, selection: Filter, sequence: int, limit: int) -> tuple[int, list[BookedCall]]:
        """Returns calls booked after `sequence`, in booking order, and the sequence number to continue from."""
        ...

    def newest_sequence(self) -> int:
        """Returns the sequence number of the last booked call, 0 for none."""
        ...

    def alerts(self, before: AlertPosition | None, limit: int) -> list[Alert | SwitchAlert]:
        """Returns alerts before a position, newest first."""
        ...


class Traces(Protocol):
    """Spans of requests."""

    def emit(self, traced: Traced) -> None:
        """Writes the spans of whatever belongs to a recorded trace. Never raises, never waits."""
        ...


class Refusals(Protocol):
    """Requests without a reservation."""

    def read(self, allowed: Callable[[int], int]) -> tuple[list[Refusal], int]:
        """Reads on. Parses as many new requests as `allowed` permits, and returns how many it left out."""
        ...
