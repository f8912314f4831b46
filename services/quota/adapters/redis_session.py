"""The state that the parts of one process's Redis counters share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_keys import RedisKeys
from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.adapters.uncertain_reservations import UncertainReservations
from services.quota.ports.counters import HoldAgain, PutBack
from services.quota.ports.directory import SnapshotStore


def none_kept(_hold: HoldAgain, _names: Collection[str] | None) -> int:
    """`ports.PutBack` for a gateway that admits nothing without its counters."""
    return 0


class LocalRecords(NamedTuple):
    """The records of a quota process that a loss of Redis does not reach."""

    notes: SnapshotStore
    """They say which generation of counters this process knows."""
    journal: HeldJournal
    """The holds of calls."""
    doubts: SqliteDoubts
    """The doubts of calls."""
    put_back: PutBack = none_kept
    """Hands over the holds of calls admitted during a failure of Redis."""
    fresh: bool = False
    """The gateway never counted anything, so an empty Redis has lost nothing."""


@dataclass(slots=True)
class RedisSession:
    """A connection, and whether its counters are reliable. Safe to use from any thread."""

    link: RedisLink
    keys: RedisKeys
    journal: HeldJournal
    uncertain: UncertainReservations = field(default_factory=UncertainReservations)
    generation: str = ""
    """The generation of the counters that this process uses; empty while they are not reliable."""

    def mark_uncertain(self, names: Collection[str]) -> None:
        """Notes reservations that no call uses and that Redis may or may not have."""
        self.journal.drop(names)
        self.uncertain.add(names)
