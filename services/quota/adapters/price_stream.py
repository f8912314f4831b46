"""Receives prices from the ledger. It stores the last ones, so that calls have prices while the ledger is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError
from spendgate.ledger.v1 import price_book_service_pb2 as pb
from spendgate.ledger.v1 import price_book_service_pb2_grpc

from services.chassis.loops import Stream, StreamLoop
from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.usage import METERS
from services.quota.domain.routing.plan import PlannedTarget, PriceSnapshot
from services.quota.ports.directory import SnapshotStore

_SNAPSHOT = "prices"

_log = logging.getLogger("spendgate.quota")


class PricedTarget(NamedTuple):
    """The facts of a target by which the ledger finds its price."""

    target: str
    catalogue_provider: str
    upstream_model: str


class PriceStream:
    """Watches the prices of the targets last passed to `watch`."""

    def __init__(
        self, channel: grpc.Channel, store: SnapshotStore, *, swap_in: Callable[[PriceSnapshot], None]
    ) -> None:
        self._stub = price_book_service_pb2_grpc.PriceBookServiceStub(channel)
        self._store = store
        self._swap_in = swap_in
        self._changing = threading.Lock()
        self._asked: frozenset[PricedTarget] = frozenset()
        self._asked_before: frozenset[PricedTarget] = frozenset()
        self._opened_for: frozenset[PricedTarget] = frozenset()
        self._answered = threading.Event()
        self._last = PriceSnapshot("")
        self._loop = StreamLoop("prices", self._open, self._take)

    def load(self) -> PriceSnapshot | None:
        """The prices that were in force before the last stop; None if there were none."""
        body = self._store.load(_SNAPSHOT)
        if body is None:
            return None
        try:
            self._last = read_prices(pb.WatchPricesResponse.FromString(body))
        except DecodeError:
            _log.exception("the stored prices cannot be read; waiting for the ledger to send others")
            return None
        return self._last

    @property
    def name(self) -> str:
        """The name in the log."""
        return self._loop.name

    def start(self) -> None:
        """Starts listening in the background."""
        self._loop.start()

    def stop(self) -> None:
        """Stops listening. The prices in force stay."""
        self._loop.stop()

    def watch(self, targets: Collection[PlannedTarget], *, timeout_s: float) -> bool:
        """Asks for the prices of these targets, and waits for them until the timeout.

        Returns whether the prices are in force. The prices of the previous targets stay in force as well, because the
        previous plan still decides calls and must not find its targets unpriced.
        """
        asked = frozenset(
            PricedTarget(target.name, target.catalogue_provider, target.upstream_model) for target in targets
        )
        with self._changing:
            if asked != self._asked:
                self._asked_before, self._asked = self._asked, asked
                self._answered.clear()
                self._loop.reopen()
        return self._answered.wait(timeout_s)

    def _open(self) -> Stream:
        with self._changing:
            self._opened_for = self._asked
        targets = [
            pb.WatchPricesRequest.PricedTarget(
                target=asked.target,
                catalogue_provider=asked.catalogue_provider,
                upstream_model=asked.upstream_model,
            )
            for asked in sorted(self._opened_for)
        ]
        return self._stub.WatchPrices(pb.WatchPricesRequest(targets=targets))

    def _take(self, message: pb.WatchPricesResponse) -> None:
        prices = read_prices(message)
        self._store.save(_SNAPSHOT, prices.version, message.SerializeToString())
        with self._changing:
            if self._opened_for != self._asked:
                # Somebody asked for other targets meanwhile; the next stream brings their prices.
                return
            leaving = {each.target for each in self._asked_before} - {each.target for each in self._asked}
            kept = {name: price for name, price in self._last.prices.items() if name in leaving}
            self._last = PriceSnapshot(prices.version, {**kept, **prices.prices})
            self._swap_in(self._last)
            self._answered.set()


def read_prices(message: pb.WatchPricesResponse) -> PriceSnapshot:
    """Reads prices into a value. It skips an invalid price: the target is then unpriced, which is not free."""
    prices: dict[str, Price] = {}
    for each in message.prices:
        try:
            prices[each.target] = Price(
                tiers=_read_tiers(each.tiers),
                request_nano_usd=NanoUsd(each.request_nano_usd),
                service_tiers={other.service_tier: _read_tiers(other.tiers) for other in each.service_tiers},
            )
        except ValueError as error:
            _log.warning("the price of %s is invalid and not used: %s", each.target, error)
    return PriceSnapshot(message.version, prices)


def _read_tiers(messages: Iterable[pb.PriceTier]) -> tuple[PriceTier, ...]:
    return tuple(PriceTier(message.above_input_tokens, _read_rates(message)) for message in messages)


def _read_rates(message: pb.PriceTier) -> dict[str, PicoUsdPerToken]:
    """The rates of the meters that this release knows. A call that uses another meter has no bound and no cost here."""
    return {rate.meter: PicoUsdPerToken(rate.pico_usd) for rate in message.rates if rate.meter in METERS}
