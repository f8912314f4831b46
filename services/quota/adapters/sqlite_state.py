"""The state that the parts of one process's counters in SQLite share."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from services.quota.adapters.counter_levels import CounterLevels
from services.quota.adapters.slices import Turns
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_open_reservations import OpenReservations

Lock = AbstractContextManager[Any]


@dataclass(frozen=True, slots=True)
class SqliteState:
    """A file, and what is in memory of it."""

    file: SqliteFile
    open: OpenReservations
    deciding: Lock = field(default_factory=threading.Lock)
    """The lock of decisions. Whoever changes counters holds it, and long work holds it for a slice at a time."""
    levels: CounterLevels = field(default_factory=CounterLevels)
    turns: Turns = field(default_factory=Turns)
