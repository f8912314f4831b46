"""The directory, plan and prices in force. Each is immutable, and a new one replaces it as a whole."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.policies.burn_rate import TypicalRate, nothing_typical
from services.quota.domain.routing.compile import Routes
from services.quota.domain.routing.plan import PlanSnapshot, PriceSnapshot


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent view of directory, plan and prices. Each decision uses one snapshot from beginning to end."""

    directory: DirectorySnapshot
    routes: Routes


class Live:
    """Holds the snapshot in force. Reading takes no lock."""

    def __init__(self, directory: Directory, typical: TypicalRate = nothing_typical) -> None:
        self._swapping = threading.Lock()
        self._typical = typical
        self._snapshot = Snapshot(DirectorySnapshot.of(directory, typical), Routes(PlanSnapshot(""), PriceSnapshot("")))

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in force."""
        return self._snapshot

    def snapshot_of(self, directory: Directory) -> DirectorySnapshot:
        """Prepares a directory for `take`."""
        return DirectorySnapshot.of(directory, self._typical, self._snapshot.directory)

    def take(self, directory: DirectorySnapshot) -> None:
        """Puts a prepared directory in force."""
        with self._swapping:
            self._snapshot = Snapshot(directory, self._snapshot.routes)

    def set_directory(self, directory: Directory) -> None:
        """Prepares a stored directory and puts it in force."""
        self.take(self.snapshot_of(directory))

    def set_plan(self, plan: PlanSnapshot) -> None:
        """Puts a plan in force."""
        with self._swapping:
            self._snapshot = Snapshot(self._snapshot.directory, Routes(plan, self._snapshot.routes.prices))

    def set_prices(self, prices: PriceSnapshot) -> None:
        """Puts prices in force."""
        with self._swapping:
            self._snapshot = Snapshot(self._snapshot.directory, Routes(self._snapshot.routes.plan, prices))
