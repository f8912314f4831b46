"""What is in force at this moment: directory, plan and prices. Each is immutable and is swapped whole."""

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
    """One consistent picture. A decision looks at one of them from beginning to end."""

    directory: DirectorySnapshot
    routes: Routes


class Live:
    """Holds the picture in force. Reading takes no lock."""

    def __init__(self, directory: Directory, typical: TypicalRate = nothing_typical) -> None:
        self._swapping = threading.Lock()
        self._typical = typical
        self._snapshot = Snapshot(DirectorySnapshot.of(directory, typical), Routes(PlanSnapshot(""), PriceSnapshot("")))

    @property
    def snapshot(self) -> Snapshot:
        """The picture in force."""
        return self._snapshot

    def snapshot_of(self, directory: Directory) -> DirectorySnapshot:
        """Other teams, keys and policies, ready to be taken."""
        return DirectorySnapshot.of(directory, self._typical)

    def take(self, directory: DirectorySnapshot) -> None:
        """Takes other teams, keys and policies."""
        with self._swapping:
            self._snapshot = Snapshot(directory, self._snapshot.routes)

    def set_directory(self, directory: Directory) -> None:
        """The same of a directory as it is stored."""
        self.take(self.snapshot_of(directory))

    def set_plan(self, plan: PlanSnapshot) -> None:
        """Takes another plan."""
        with self._swapping:
            self._snapshot = Snapshot(self._snapshot.directory, Routes(plan, self._snapshot.routes.prices))

    def set_prices(self, prices: PriceSnapshot) -> None:
        """Takes other prices."""
        with self._swapping:
            self._snapshot = Snapshot(self._snapshot.directory, Routes(self._snapshot.routes.plan, prices))
