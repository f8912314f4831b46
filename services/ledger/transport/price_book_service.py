"""`spendgate.ledger.v1.PriceBookService`: streams prices to quota."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import grpc
from spendgate.ledger.v1 import price_book_service_pb2 as pb
from spendgate.ledger.v1 import price_book_service_pb2_grpc as pb_grpc

from services.chassis.grpc_server import Registration
from services.kernel.errors import InvalidInput, Unavailable
from services.kernel.names import split_target
from services.ledger.domain.configuration import PricedTarget
from services.ledger.transport.price_messages import target_price
from services.ledger.usecases.price_book import MOST_TARGETS, PriceBook

SERVICE = "spendgate.ledger.v1.PriceBookService"
WATCHES_MAX = 8
# How soon a watch notices that its client has gone, and how late a price that changes with time may be sent.
_LOOK_S = 1


class PriceBookService(pb_grpc.PriceBookServiceServicer):
    """Sends all requested prices at once, and again whenever one changes."""

    def __init__(self, prices: PriceBook, stopping: threading.Event) -> None:
        self._prices = prices
        self._stopping = stopping
        self._watches = threading.BoundedSemaphore(WATCHES_MAX)

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(pb_grpc.add_PriceBookServiceServicer_to_server, self))

    def WatchPrices(
        self, request: pb.WatchPricesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchPricesResponse]:
        """Streams the prices of the requested targets."""
        targets = _targets(request)
        if not self._watches.acquire(blocking=False):
            raise Unavailable(f"{WATCHES_MAX} watches are open already")
        try:
            self._prices.remember(targets)
            names = [target.target for target in targets]
            sent = ""
            while context.is_active() and not self._stopping.is_set():
                prices = self._prices.list_prices(names)
                if prices.version != sent:
                    sent = prices.version
                    yield pb.WatchPricesResponse(version=sent, prices=[target_price(row) for row in prices.rows])
                self._prices.wait_for_change(_LOOK_S)
        finally:
            self._watches.release()


def _targets(request: pb.WatchPricesRequest) -> list[PricedTarget]:
    if len(request.targets) > MOST_TARGETS:
        raise InvalidInput("targets", f"more than {MOST_TARGETS}")
    for at, each in enumerate(request.targets):
        split_target(f"targets[{at}].target", each.target)
    return [PricedTarget(each.target, each.catalogue_provider, each.upstream_model) for each in request.targets]
