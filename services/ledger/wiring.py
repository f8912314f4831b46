"""Puts the ledger together, by hand, in the order in which it is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import grpc

from services.chassis.audit import AuditLog
from services.chassis.database import migrate, open_engine
from services.chassis.grpc_server import Registration, build_server, open_channel
from services.chassis.metrics import Gauge, Metrics, configure_metrics
from services.chassis.process import SystemClock
from services.chassis.settings import Environ
from services.kernel.clock import Clock
from services.kernel.errors import Unavailable
from services.kernel.spool_contract import REFUSED_LOG
from services.ledger.adapters.otlp_spans import OtlpCostSpans, export_over
from services.ledger.adapters.price_catalogue import GenaiPrices
from services.ledger.adapters.quota_client import QuotaClient
from services.ledger.adapters.quota_counters import QuotaCountersClient
from services.ledger.adapters.spool import SpoolFolder, SpoolLimits, reopen_logs_at
from services.ledger.adapters.sql_configuration import SqlConfiguration
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlEpochs, SqlOutbox
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_settled_sums import SqlSettledSums
from services.ledger.adapters.sql_tables import audit_entries
from services.ledger.settings import Settings
from services.ledger.transport import admin_api, price_stream
from services.ledger.usecases.book import Book
from services.ledger.usecases.price_book import PriceBook
from services.ledger.usecases.query import Query
from services.ledger.usecases.reconcile import Reconcile
from services.ledger.usecases.settle import Settle
from services.ledger.usecases.sweep import Sweep

_log = logging.getLogger("spendgate.ledger")

# What Envoy wrote meanwhile is booked together: a transaction and a call of quota cost as much for one line as for ten.
# Under load a pass waits for more; a settlement still follows its call within half a second or so.
_BOOK_INTERVAL_S = 0.1
_BUSY_BOOK_INTERVAL_S = 0.25
_BUSY_LINES = 20
# Whatever is to be settled was booked, which wakes the thread; this is for what quota did not take then.
_SETTLE_INTERVAL_S = 1.0
_EXPIRE_INTERVAL_MS = 3_000
_TIDY_INTERVAL_MS = 5_000
_BACKOFF_S = 1.0
# Tails and watches hold a worker each; the rest answers.
_WORKERS = admin_api.TAILS_MAX + price_stream.WATCHES_MAX + 8
_STOP_GRACE_S = 2.0
_STOP_WAIT_S = 30.0


class Ledger:
    """The process: one thread books, one settles, the server answers."""

    def __init__(
        self,
        *,
        server: grpc.Server,
        channel: grpc.Channel,
        book: Book,
        settle: Settle,
        reconcile: Reconcile,
        metrics: Metrics,
        spans: OtlpCostSpans,
        stopping: threading.Event,
        clock: Clock,
    ) -> None:
        self._server = server
        self._channel = channel
        self._book = book
        self._settle = settle
        self._reconcile = reconcile
        self._metrics = metrics
        self._spans = spans
        self._stopping = stopping
        self._clock = clock
        self._booked = threading.Event()
        self._tidied_ms = 0
        self._expired_ms = 0
        self._threads = [
            threading.Thread(target=self._loop, args=(self._book_once,), name="book"),
            threading.Thread(target=self._loop, args=(self._settle_once,), name="settle"),
        ]

    def start(self) -> None:
        """Returns when the service answers."""
        self._server.start()
        self._spans.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when the batch in hand is committed. What is not booked or settled is taken up at the next start."""
        self._stopping.set()
        self._booked.set()
        for thread in self._threads:
            thread.join(_STOP_WAIT_S)
        self._server.stop(_STOP_GRACE_S).wait()
        self._channel.close()
        self._spans.stop()
        self._metrics.shutdown()

    def _loop(self, step: Callable[[], float]) -> None:
        """Repeats a step, which says for how many seconds to wait then.

        A fault (a full disk, a peer that is down) is logged and tried again: nothing was lost.
        """
        complaint = ""
        while not self._stopping.is_set():
            try:
                pause_s = step()
                complaint = ""
            except Unavailable as error:
                if str(error) != complaint:
                    _log.warning("%s; trying again until it does", error)
                complaint = str(error)
                pause_s = _BACKOFF_S
            except Exception:  # noqa: BLE001  (whatever it is, the next round may succeed)
                _log.exception("a round failed and is repeated")
                pause_s = _BACKOFF_S
            self._stopping.wait(pause_s)

    def _book_once(self) -> float:
        lines = self._book.run_pass(self._stopping.is_set)
        if lines:
            self._booked.set()
        if self._clock.now_ms() - self._tidied_ms >= _TIDY_INTERVAL_MS:
            self._tidied_ms = self._clock.now_ms()
            self._book.tidy()
        return _BUSY_BOOK_INTERVAL_S if lines >= _BUSY_LINES else _BOOK_INTERVAL_S

    def _settle_once(self) -> float:
        self._reconcile.rebuild_if_lost()
        self._settle.settle()
        self._settle.release()
        if self._clock.now_ms() - self._expired_ms >= _EXPIRE_INTERVAL_MS:
            self._expired_ms = self._clock.now_ms()
            if self._settle.expire():
                self._expired_ms = 0
                return 0.0
        self._reconcile.check_if_due()
        self._booked.wait(_SETTLE_INTERVAL_S)
        self._booked.clear()
        return 0.0


def build(environ: Environ) -> Ledger:
    """The ledger of this environment, not yet started.

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    settings = Settings.from_environ(environ)
    clock = SystemClock()
    stopping = threading.Event()
    engine = open_engine(settings.data_dir / "db" / "ledger.sqlite")
    migrate(engine, "services.ledger")
    database = Database(engine)
    traces = settings.otlp_endpoint
    spans = OtlpCostSpans("spendgate-ledger", export_over(open_channel(traces)) if traces else None)

    entries, epochs, outbox = SqlEntries(database), SqlEpochs(database), SqlOutbox(database)
    reports = SqlReports(database)
    prices = PriceBook(SqlConfiguration(database), GenaiPrices(), clock)
    book = Book(
        spool=_spool(settings, clock),
        store=entries,
        epochs=epochs,
        price_of=prices.price_of,
        spans=spans,
        clock=clock,
    )
    channel = open_channel(settings.quota_address)
    quota = QuotaClient(channel)
    sweep = Sweep(outbox=outbox, held=quota)
    settle = Settle(
        outbox=outbox,
        store=entries,
        epochs=epochs,
        quota=quota,
        sweep=sweep,
        price_of=prices.price_of,
        booked_through_ms=lambda: book.booked_through_ms,
        stream_ms_max=settings.stream_s_max * 1_000,
        clock=clock,
    )

    reconcile = Reconcile(
        counters=QuotaCountersClient(channel),
        sums=SqlSettledSums(database),
        outbox=outbox,
        sweep=sweep,
        clock=clock,
        interval_ms=settings.drift_check_s * 1_000,
    )
    ledger_service = admin_api.LedgerService(
        query=Query(reports),
        prices=prices,
        audit=AuditLog(engine, audit_entries),
        status=lambda: _status(reports, outbox, book, reconcile, sweep, now_ms=clock.now_ms()),
        stopping=stopping,
    )
    return Ledger(
        server=_server(settings, ledger_service, price_stream.PriceBookService(prices, stopping)),
        channel=channel,
        book=book,
        settle=settle,
        reconcile=reconcile,
        metrics=configure_metrics("spendgate-ledger", settings.otlp_endpoint, _gauges(reconcile, sweep)),
        spans=spans,
        stopping=stopping,
        clock=clock,
    )


def _spool(settings: Settings, clock: Clock) -> SpoolFolder:
    return SpoolFolder(
        settings.data_dir / "spool",
        settings.data_dir / "logs" / REFUSED_LOG,
        SpoolLimits(settings.spool_file_bytes, settings.spool_keep_s * 1_000, settings.refused_log_bytes),
        reopen_logs_at(settings.envoy_admin_socket),
        clock,
    )


def _gauges(reconcile: Reconcile, sweep: Sweep) -> list[Gauge]:
    return [
        Gauge(
            "spendgate_drift_nano_usd",
            "{nano-USD}",
            "The furthest that the spend of a counter was from the ledger when they were last compared",
            lambda: reconcile.last.drift_nano_usd,
        ),
        Gauge(
            "spendgate_repaired_counters",
            "{counter}",
            "Counters that were moved to what the ledger says since the process started",
            lambda: reconcile.last.repaired,
        ),
        Gauge(
            "spendgate_swept_reservations",
            "{reservation}",
            "Reservations that were released because their calls were settled since the process started",
            lambda: sweep.released,
        ),
    ]


def _status(
    reports: SqlReports, outbox: SqlOutbox, book: Book, reconcile: Reconcile, sweep: Sweep, *, now_ms: int
) -> admin_api.Status:
    return admin_api.Status(
        booked_calls=reports.count_booked(),
        unsettled_calls=outbox.count_unsettled(),
        booked_through_ms=book.booked_through_ms,
        unreadable_lines=reports.count_unreadable(),
        spool_backlog_bytes=book.backlog_bytes(),
        check=reconcile.last,
        swept_reservations=sweep.released,
        dropped_headers=tuple(reports.dropped_headers(now_ms)),
    )


def _server(
    settings: Settings, ledger_service: admin_api.LedgerService, price_service: price_stream.PriceBookService
) -> grpc.Server:
    return build_server(
        settings.address,
        [
            Registration(admin_api.SERVICE, admin_api.register(ledger_service)),
            Registration(price_stream.SERVICE, price_stream.register(price_service)),
        ],
        workers=_WORKERS,
    )
