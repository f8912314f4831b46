"""Assembles the ledger. Only this module knows all its parts; `build` is its table of contents."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from services.chassis.audit import AuditLog
from services.chassis.database import bring_up_to_date, open_engine
from services.chassis.grpc_server import ThreadedServer, build_server, open_channel
from services.chassis.loops import Loop, Stopping
from services.chassis.metrics import Gauge, send_gauges
from services.chassis.named_variables import SOCKET_NAME, NamedVariables
from services.chassis.runtime import Closers, Part, Runtime
from services.kernel.clock import Clock
from services.kernel.spool_contract import REFUSED_LOG
from services.ledger.adapters.courier import CourierProcess
from services.ledger.adapters.otlp_export import OtlpTraces, export_over
from services.ledger.adapters.price_catalogue import GenaiPrices
from services.ledger.adapters.quota_client import QuotaClient, RecipientsClient
from services.ledger.adapters.quota_counters import QuotaCountersClient
from services.ledger.adapters.refused_log import RefusedLog
from services.ledger.adapters.spool import SpoolFolder, SpoolLimits, reopen_logs_at
from services.ledger.adapters.sql_alerts import SqlSwitches
from services.ledger.adapters.sql_books import SqlBooks
from services.ledger.adapters.sql_configuration import SqlConfiguration
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_deliveries import SqlDeliveries
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_settled_sums import SqlSettledSums
from services.ledger.adapters.sql_tables import audit_entries
from services.ledger.settings import Settings
from services.ledger.transport import ledger_service, price_book_service, switch_service
from services.ledger.usecases.book import Book
from services.ledger.usecases.deliver import DELIVER_INTERVAL_MS, Deliver
from services.ledger.usecases.expire import Expire, Watermark
from services.ledger.usecases.price_book import PriceBook
from services.ledger.usecases.query import Query
from services.ledger.usecases.reconcile import Reconcile
from services.ledger.usecases.record_switches import RecordSwitches
from services.ledger.usecases.rounds import BOOK_INTERVAL_MS, SETTLE_INTERVAL_MS, BookRound, SettleRound
from services.ledger.usecases.settle import Settle
from services.ledger.usecases.sweep import Sweep
from services.ledger.usecases.trace_refusals import TraceRefusals

_RETRY_MS = (1_000, 1_000)
_REFUSALS_EVERY_MS = 500
# Each tail and each watch holds a worker. The others answer requests.
_WORKERS = ledger_service.TAILS_MAX + price_book_service.WATCHES_MAX + 8
_STOP_GRACE_S = 2.0


def build(settings: Settings, clock: Clock) -> Runtime:
    """Assembles a ledger with these settings. The next start picks up whatever it leaves unbooked or unsettled."""
    stopping = threading.Event()
    with Closers() as closers:
        file = settings.data_dir / "db" / "ledger.sqlite"
        bring_up_to_date(file, "services.ledger")
        engine = open_engine(file)
        closers.add("the database", engine.dispose)
        database = Database(engine)
        books = SqlBooks(database)
        prices = PriceBook(SqlConfiguration(database), GenaiPrices(), clock)
        tracing = _tracing(settings, clock, closers)
        book = Book(
            spool=_spool(settings, clock),
            books=books,
            price_of=prices.price_of,
            traces=tracing.traces,
            clock=clock,
        )
        channel = open_channel(settings.quota_address)
        closers.add("the channel to quota", channel.close)
        quota = QuotaClient(channel)
        sweep = Sweep(outbox=books, held=quota)
        settle = Settle(outbox=books, quota=quota, clock=clock)
        expire = Expire(
            books=books,
            quota=quota,
            sweep=sweep,
            price_of=prices.price_of,
            watermark=Watermark(lambda: book.booked_through_ms, settings.stream_s_max * 1_000),
            clock=clock,
        )
        reconcile = Reconcile(
            counters=QuotaCountersClient(channel),
            sums=SqlSettledSums(database),
            outbox=books,
            sweep=sweep,
            clock=clock,
            interval_ms=settings.drift_check_s * 1_000,
        )
        gauges = [*_gauges(reconcile, sweep), *_gauges_of_traces(tracing)]
        closers.add("metrics", send_gauges("spendgate-ledger", settings.traces.receiver, gauges))
        courier = CourierProcess(settings.data_dir / "db" / "courier.jsonl")
        deliver = _deliver(settings, database, prices, courier, clock)
        reports = SqlReports(database)
        services = (
            ledger_service.LedgerService(
                query=Query(reports),
                prices=prices,
                deliver=deliver,
                audit=AuditLog(engine, audit_entries),
                status=lambda: tracing.said_in(_status(reports, books, book, reconcile, sweep, now_ms=clock.now_ms())),
                stopping=stopping,
            ),
            price_book_service.PriceBookService(prices, stopping),
            switch_service.SwitchService(RecordSwitches(SqlSwitches(database), RecipientsClient(channel), clock)),
        )
        server = build_server(settings.address, [service.registration for service in services], workers=_WORKERS)
        return Runtime(
            servers=[ThreadedServer("the server", server, grace_s=_STOP_GRACE_S)],
            loops=[
                *tracing.loops,
                *_loops(book, SettleRound(settle, expire, reconcile, clock), clock, stopping),
                _delivering(deliver, courier),
            ],
            closers=closers,
            stopping=stopping,
        )


def _loops(book: Book, settle_round: SettleRound, clock: Clock, stopping: threading.Event) -> list[Loop]:
    """Returns two loops: one books and wakes the other, which settles."""
    settling = Loop(
        "settling",
        settle_round,
        every_ms=SETTLE_INTERVAL_MS,
        at_once=True,
        retry_ms=_RETRY_MS,
    )
    booking = Loop(
        "booking",
        BookRound(book, clock, is_stopping=stopping.is_set, booked=settling.wake),
        every_ms=BOOK_INTERVAL_MS,
        at_once=True,
        retry_ms=_RETRY_MS,
    )
    return [booking, settling]


def _deliver(
    settings: Settings, database: Database, prices: PriceBook, courier: CourierProcess, clock: Clock
) -> Deliver:
    handed = NamedVariables(SOCKET_NAME)
    return Deliver(
        SqlDeliveries(database),
        channels=lambda: prices.channels,
        secret_of=lambda name: settings.environ.secret(name) or handed(name),
        courier=courier,
        clock=clock,
        new_id=lambda: f"msg_{secrets.token_hex(12)}",
    )


def _delivering(deliver: Deliver, courier: CourierProcess) -> Loop:
    stopping = Stopping(interrupt=courier.stop)
    return Loop("delivering", deliver, every_ms=DELIVER_INTERVAL_MS, retry_ms=_RETRY_MS, stopping=stopping)


class _Tracing(NamedTuple):
    """The parts that make and send spans."""

    traces: OtlpTraces
    refusals: TraceRefusals
    loops: Sequence[Part]

    def said_in(self, status: ledger_service.Status) -> ledger_service.Status:
        """Adds the counts of lost spans."""
        return replace(status, dropped_spans=self.traces.dropped, refusals_without_spans=self.refusals.left_out)


def _tracing(settings: Settings, clock: Clock, closers: Closers) -> _Tracing:
    refused_log = RefusedLog(_refused_log(settings))
    closers.add("the log of refusals", refused_log.close)
    receiver, sampling = settings.traces
    if receiver is None:
        traces = OtlpTraces(None, sampling)
        return _Tracing(traces, TraceRefusals(refused_log, traces, clock), ())
    channel = open_channel(receiver)
    closers.add("the channel to the receiver of traces", channel.close)
    traces = OtlpTraces(export_over(channel), sampling)
    refusals = TraceRefusals(refused_log, traces, clock)
    return _Tracing(traces, refusals, (traces, Loop("tracing refusals", refusals, every_ms=_REFUSALS_EVERY_MS)))


def _spool(settings: Settings, clock: Clock) -> SpoolFolder:
    return SpoolFolder(
        settings.data_dir / "spool",
        _refused_log(settings),
        SpoolLimits(settings.spool_file_bytes, settings.spool_keep_s * 1_000, settings.refused_log_bytes),
        reopen_logs_at(settings.envoy_admin_socket),
        clock,
    )


def _refused_log(settings: Settings) -> Path:
    return settings.data_dir / "logs" / REFUSED_LOG


def _gauges(reconcile: Reconcile, sweep: Sweep) -> list[Gauge]:
    return [
        Gauge(
            "spendgate_drift_nano_usd",
            "{nano-USD}",
            "Largest deviation of a counter's spend from the ledger at the last comparison",
            lambda: reconcile.last.drift_nano_usd,
        ),
        Gauge(
            "spendgate_repaired_counters",
            "{counter}",
            "Counters corrected to match the ledger since the process started",
            lambda: reconcile.last.repaired,
        ),
        Gauge(
            "spendgate_swept_reservations",
            "{reservation}",
            "Reservations released since the process started because their calls were settled",
            lambda: sweep.released,
        ),
    ]


def _gauges_of_traces(tracing: _Tracing) -> list[Gauge]:
    return [
        Gauge(
            "spendgate_dropped_spans",
            "{span}",
            "Spans that the receiver did not get since the process started",
            lambda: tracing.traces.dropped,
        ),
        Gauge(
            "spendgate_refusals_without_spans",
            "{request}",
            "Refused requests without spans since the process started, because too many came at once",
            lambda: tracing.refusals.left_out,
        ),
    ]


def _status(
    reports: SqlReports, books: SqlBooks, book: Book, reconcile: Reconcile, sweep: Sweep, *, now_ms: int
) -> ledger_service.Status:
    return ledger_service.Status(
        booked_calls=reports.count_booked(),
        unsettled_calls=books.count_unsettled(),
        booked_through_ms=book.booked_through_ms,
        unreadable_lines=reports.count_unreadable(),
        spool_backlog_bytes=book.backlog_bytes(),
        check=reconcile.last,
        swept_reservations=sweep.released,
        dropped_headers=tuple(reports.dropped_headers(now_ms)),
    )
