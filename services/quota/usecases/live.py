"""The directory, plan and prices in force. Each is immutable, and a new one replaces it as a whole."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.quota.domain.admission.terms import Asked, Terms, terms_of
from services.quota.domain.directory.directory import Directory
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.policies.burn_rate import TypicalRate, nothing_typical
from services.quota.domain.policies.denial import Deny
from services.quota.domain.routing.compile import Routes
from services.quota.domain.routing.plan import PlanSnapshot, PriceSnapshot

# The most kinds of calls whose terms a snapshot remembers. When there are more, it forgets them all.
_MOST_TERMS = 20_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent view of directory, plan and prices. Each decision uses one snapshot from beginning to end."""

    directory: DirectorySnapshot
    routes: Routes
    _terms: dict[tuple[str, str, Dialect, Operation, str], Terms] = field(
        default_factory=dict, compare=False, repr=False
    )

    def terms(self, asked: Asked, now_ms: int) -> Terms | Deny:
        """The terms of such calls now, or the reason why they have no route. Found once."""
        counted_run = asked.run if self.directory.counts_runs else ""
        kind = (asked.key.attribution.key_id, asked.model, asked.dialect, asked.operation, counted_run)
        terms = self._terms.get(kind)
        if terms is not None and terms.limits.from_ms <= now_ms < terms.limits.until_ms:
            return terms
        found = terms_of(self.directory, self.routes, asked._replace(run=counted_run), now_ms)
        if isinstance(found, Terms):
            # Models without a route are not remembered: clients can make up any number of them.
            if len(self._terms) >= _MOST_TERMS:
                self._terms.clear()
            self._terms[kind] = found
        return found


class Live:
    """Holds the snapshot in force. Reading takes no lock."""

    def __init__(self, directory: Directory, typical: TypicalRate = nothing_typical) -> None:
        self._swapping = threading.Lock()
        self._typical = typical
        self.snapshot = Snapshot(DirectorySnapshot.of(directory, typical), Routes(PlanSnapshot(""), PriceSnapshot("")))
        """The snapshot in force. Only this class sets it."""

    def snapshot_of(self, directory: Directory) -> DirectorySnapshot:
        """Prepares a directory for `take`."""
        return DirectorySnapshot.of(directory, self._typical, self.snapshot.directory)

    def take(self, directory: DirectorySnapshot) -> None:
        """Puts a prepared directory in force."""
        with self._swapping:
            self.snapshot = Snapshot(directory, self.snapshot.routes)

    def set_directory(self, directory: Directory) -> None:
        """Prepares a stored directory and puts it in force."""
        self.take(self.snapshot_of(directory))

    def set_plan(self, plan: PlanSnapshot) -> None:
        """Puts a plan in force."""
        with self._swapping:
            self.snapshot = Snapshot(self.snapshot.directory, Routes(plan, self.snapshot.routes.prices))

    def set_prices(self, prices: PriceSnapshot) -> None:
        """Puts prices in force."""
        with self._swapping:
            self.snapshot = Snapshot(self.snapshot.directory, Routes(self.snapshot.routes.plan, prices))
