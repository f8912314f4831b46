"""What the parts of one quota's counters in Redis share."""

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
    """`ports.PutBack` of a gateway that lets nothing through without its counters."""
    return 0


class LocalRecords(NamedTuple):
    """What a quota keeps where a loss of Redis does not reach it."""

    notes: SnapshotStore
    """Which counters this process knows."""
    journal: HeldJournal
    """What calls hold."""
    doubts: SqliteDoubts
    """What calls left in doubt."""
    put_back: PutBack = none_kept
    """Hands over what calls hold that were let through while Redis could not be reached."""
    fresh: bool = False
    """Nothing was ever counted, so that an empty Redis is as it should be."""


@dataclass(slots=True)
class RedisSession:
    """A connection, and how far its counters can be believed. May be used from any thread."""

    link: RedisLink
    keys: RedisKeys
    journal: HeldJournal
    uncertain: UncertainReservations = field(default_factory=UncertainReservations)
    generation: str = ""
    """Of the counters that this process takes part in; empty while they cannot be believed."""

    def mark_uncertain(self, names: Collection[str]) -> None:
        """No call uses these reservations, and whether Redis holds them is unknown."""
        self.journal.drop(names)
        self.uncertain.add(names)
