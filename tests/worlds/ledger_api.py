"""The ledger's services over a real gRPC server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from spendgate.ledger.v1 import ledger_service_pb2_grpc as pb_grpc
from spendgate.ledger.v1 import price_book_service_pb2_grpc as price_grpc

from services.chassis.audit import AuditLog
from services.chassis.grpc_server import build_server
from services.kernel.clock import ManualClock
from services.ledger.adapters.courier import CourierProcess
from services.ledger.adapters.price_catalogue import GenaiPrices
from services.ledger.adapters.sql_configuration import SqlConfiguration
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_deliveries import SqlDeliveries
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_tables import audit_entries
from services.ledger.transport import ledger_service, price_book_service
from services.ledger.usecases.deliver import Deliver
from services.ledger.usecases.price_book import PriceBook
from services.ledger.usecases.query import Query
from services.ledger.usecases.reconcile import ReconcileReport
from tests.worlds.spool_lines import EPOCH, book_of, engine_of, open_database, write_lines

NOW_MS = 1_795_464_100_000


@dataclass
class Api:
    """Its services."""

    ledger: pb_grpc.LedgerServiceStub
    prices: price_grpc.PriceBookServiceStub
    folder: Path
    database: Database

    def book(self, *lines: dict[str, Any]) -> None:
        """Books lines of the spool."""
        write_lines(self.folder / "spool" / f"{EPOCH}.jsonl", lines)
        book_of(self.folder, self.database).run_pass()


@contextlib.contextmanager
def ledger_api(folder: Path) -> Iterator[Api]:
    """A ledger that serves, without booking."""
    database, stopping = open_database(folder), threading.Event()
    prices = PriceBook(SqlConfiguration(database), GenaiPrices(), ManualClock(NOW_MS))
    service = ledger_service.LedgerService(
        query=Query(SqlReports(database)),
        prices=prices,
        deliver=Deliver(
            SqlDeliveries(database),
            channels=lambda: prices.channels,
            secret_of=lambda _name: None,
            courier=CourierProcess(folder / "courier.jsonl"),
            clock=ManualClock(NOW_MS),
            new_id=lambda: "msg_1",
        ),
        audit=AuditLog(engine_of(database), audit_entries),
        status=lambda: ledger_service.Status(1, 2, None, 3, 4, ReconcileReport(0, 5, 6, 7, 8), 9),
        stopping=stopping,
    )
    stream = price_book_service.PriceBookService(prices, stopping)
    address = f"unix:{folder}/ledger.sock"
    server = build_server(
        address,
        [
            service.registration,
            stream.registration,
        ],
        workers=ledger_service.TAILS_MAX + price_book_service.WATCHES_MAX + 4,
    )
    server.start()
    with grpc.insecure_channel(address) as channel:
        yield Api(pb_grpc.LedgerServiceStub(channel), price_grpc.PriceBookServiceStub(channel), folder, database)
    stopping.set()
    server.stop(0).wait()
