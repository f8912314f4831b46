"""The price book: one price per target, for both estimates and charges.

An override wins. Otherwise the catalogue is asked under the target's names from the route plan. A target without either
is unpriced, which does not mean free.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.kernel.change import Authorship, Change, audit_entries
from services.kernel.clock import Clock
from services.kernel.price import Price
from services.kernel.repetition import Answered
from services.ledger.domain.configuration import Channel, Configuration, PricedTarget, describe, differences
from services.ledger.ports import Catalogue, ConfigurationStore

MOST_TARGETS = 10_000


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The price of one target."""

    target: str
    price: Price
    source: str
    """ "override" or "catalogue <version>"."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of the requested targets. Targets without a price are absent."""

    version: str
    """Changes whenever a price does."""
    rows: tuple[PriceRow, ...]


@dataclass(frozen=True, slots=True)
class _Applied:
    """What a configuration changed, as it is remembered."""

    changes: tuple[Change, ...]


class PriceBook:
    """Holds the configured prices and asks the catalogue for the others. Thread-safe."""

    def __init__(self, store: ConfigurationStore, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock
        self._changed = threading.Condition()
        self._configuration = store.configuration()
        self._targets = store.targets()

    def price_of(self, target: str, time_ms: int) -> Price | None:
        """Returns the price of a target for a call that began at `time_ms`, or None when it has none."""
        override = self._configuration.prices.get(target)
        if override is not None:
            return override
        known = self._targets.get(target)
        if known is None or not known.catalogue_provider:
            return None
        return self._catalogue.price(known.catalogue_provider, known.upstream_model, time_ms)

    def apply(self, configuration: Configuration, *, validate_only: bool, by: Authorship) -> tuple[Change, ...]:
        """Puts a configuration in force. Returns the changes.

        With a request id, a repetition gets the first answer, even if another configuration is in force by now.

        Raises:
            InvalidInput: another request had the same id.
        """
        asked = None if validate_only else by.repeatable
        with self._changed:
            now_ms = self._clock.now_ms()
            first = self._store.recall(asked, _Applied, now_ms) if asked else None
            if first is not None:
                return first.answer.changes
            found = differences(self._configuration, configuration)
            if (found or asked) and not validate_only:
                entries = audit_entries(
                    found, describe(self._configuration), describe(configuration), by=by, time_ms=now_ms
                )
                answered = Answered(asked, _Applied(found), now_ms) if asked else None
                self._store.replace(configuration, entries, answered)
                self._configuration = configuration
                self._changed.notify_all()
        return found

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The alert channels in force, by name."""
        return self._configuration.channels

    def remember(self, targets: Sequence[PricedTarget]) -> None:
        """Records how the catalogue names the targets of the route plan."""
        with self._changed:
            fresh = [target for target in targets if self._targets.get(target.target) != target]
            self._store.remember(fresh)
            self._targets = {**self._targets, **{target.target: target for target in fresh}}
            if fresh:
                self._changed.notify_all()

    def wait_for_change(self, timeout_s: int) -> None:
        """Returns when the configuration changes, or after `timeout_s`, since published prices change with time."""
        with self._changed:
            self._changed.wait(timeout_s)

    def list_prices(self, targets: Sequence[str]) -> PriceList:
        """Returns the current prices of these targets."""
        now_ms = self._clock.now_ms()
        overrides = self._configuration.prices
        rows = []
        for target in targets:
            price = self.price_of(target, now_ms)
            if price is not None:
                source = "override" if target in overrides else f"catalogue {self._catalogue.version}"
                rows.append(PriceRow(target, price, source))
        return PriceList(_fingerprint(rows), tuple(rows))

    @property
    def version(self) -> str:
        """Returns the version of all prices of all known targets."""
        return self.list_prices(sorted({*self._targets, *self._configuration.prices})).version


def _fingerprint(rows: list[PriceRow]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
