"""What quota believes at this moment: directory, plan and prices. Each is immutable and is swapped whole."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.policies.burn_rate import UsualRate, nothing_usual
from services.quota.domain.routing.compile import Routes
from services.quota.domain.routing.plan import PlanSnapshot, PriceSnapshot


@dataclass(frozen=True, slots=True)
class Belief:
    """One consistent picture. A decision looks at one of them from beginning to end."""

    directory: DirectorySnapshot
    routes: Routes


class Current:
    """Holds the picture in force. Reading takes no lock."""

    def __init__(self, directory: Directory, usual: UsualRate = nothing_usual) -> None:
        self._swapping = threading.Lock()
        self._usual = usual
        self._belief = Belief(DirectorySnapshot.of(directory, usual), Routes(PlanSnapshot(""), PriceSnapshot("")))

    @property
    def belief(self) -> Belief:
        """The picture in force."""
        return self._belief

    def snapshot_of(self, directory: Directory) -> DirectorySnapshot:
        """Other teams, keys and policies, ready to be taken."""
        return DirectorySnapshot.of(directory, self._usual)

    def take(self, directory: DirectorySnapshot) -> None:
        """Takes other teams, keys and policies."""
        with self._swapping:
            self._belief = Belief(directory, self._belief.routes)

    def set_directory(self, directory: Directory) -> None:
        """The same of a directory as it is stored."""
        self.take(self.snapshot_of(directory))

    def set_plan(self, plan: PlanSnapshot) -> None:
        """Takes another plan."""
        with self._swapping:
            self._belief = Belief(self._belief.directory, Routes(plan, self._belief.routes.prices))

    def set_prices(self, prices: PriceSnapshot) -> None:
        """Takes other prices."""
        with self._swapping:
            self._belief = Belief(self._belief.directory, Routes(self._belief.routes.plan, prices))
