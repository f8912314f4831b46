"""`spendgate.ledger.v1.LedgerService`: answers people and the command line about the cost of calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import grpc
from spendgate.ledger.v1 import ledger_service_pb2 as pb
from spendgate.ledger.v1 import ledger_service_pb2_grpc as pb_grpc

from services.chassis.audit import AuditLog
from services.chassis.authorship import actor_of, mutation_by
from services.chassis.changes import write_changes
from services.chassis.grpc_server import Registration
from services.chassis.paging import check_page_size, read_position, write_position
from services.chassis.well_known import timestamp
from services.kernel.errors import PermissionDenied, Unavailable
from services.ledger.domain.configuration import warnings_of
from services.ledger.domain.dropped import DroppedHeader
from services.ledger.domain.selection import confine, parse_filter
from services.ledger.transport import messages
from services.ledger.transport.delivery_messages import channel_message, delivery_message
from services.ledger.usecases.deliver import Deliver
from services.ledger.usecases.price_book import PriceBook
from services.ledger.usecases.query import Query
from services.ledger.usecases.reconcile import ReconcileReport

SERVICE = "spendgate.ledger.v1.LedgerService"
TAILS_MAX = 8
_TAIL_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Status:
    """The process's own view of its state."""

    booked_calls: int
    unsettled_calls: int
    booked_through_ms: int | None
    unreadable_lines: int
    spool_backlog_bytes: int
    check: ReconcileReport
    """The latest comparison of quota's counters with the entries."""
    swept_reservations: int
    """Reservations released since this process started, which were open although their calls were settled."""
    dropped_spans: int = 0
    refusals_without_spans: int = 0
    """Both since this process started."""
    dropped_headers: tuple[tuple[DroppedHeader, int], ...] = ()
    """Each with the calls that lost it in the last seven days and today, most frequent first."""


class LedgerService(pb_grpc.LedgerServiceServicer):
    """Parses requests, asks the use cases, answers.

    A tail holds a server thread for as long as its client listens, so the number of tails is limited.
    """

    def __init__(
        self,
        *,
        query: Query,
        prices: PriceBook,
        deliver: Deliver,
        audit: AuditLog,
        status: Callable[[], Status],
        stopping: threading.Event,
    ) -> None:
        self._query = query
        self._prices = prices
        self._deliver = deliver
        self._audit = audit
        self._status = status
        self._stopping = stopping
        self._tails = threading.BoundedSemaphore(TAILS_MAX)

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(pb_grpc.add_LedgerServiceServicer_to_server, self))

    def ApplyConfiguration(
        self, request: pb.ApplyConfigurationRequest, context: grpc.ServicerContext
    ) -> pb.ApplyConfigurationResponse:
        """Replaces price overrides and alert channels with those sent."""
        wanted = messages.configuration(request)
        by = mutation_by(context, request, request.reason)
        changes = self._prices.apply(wanted, validate_only=request.validate_only, by=by)
        return pb.ApplyConfigurationResponse(
            changes=write_changes(changes),
            warnings=warnings_of(wanted),
        )

    def QueryUsage(self, request: pb.QueryUsageRequest, context: grpc.ServicerContext) -> pb.QueryUsageResponse:
        """Sums calls by the requested dimensions."""
        query = messages.usage_query(request)
        answer = self._query.usage(replace(query, filter=confine(query.filter, actor_of(context))))
        return pb.QueryUsageResponse(
            rows=[messages.usage_row(row) for row in answer.rows], total=messages.usage_row(answer.total)
        )

    def ListCalls(self, request: pb.ListCallsRequest, context: grpc.ServicerContext) -> pb.ListCallsResponse:
        """Returns one page of calls."""
        after = read_position(request.page_token, count=2)
        calls, following = self._query.calls(
            messages.call_query(request, actor_of(context)),
            (after[0], after[1]) if after else None,
            check_page_size(request.page_size),
        )
        return pb.ListCallsResponse(
            calls=[messages.call_message(call) for call in calls], next_page_token=write_position(following or ())
        )

    def GetCall(self, request: pb.GetCallRequest, context: grpc.ServicerContext) -> pb.GetCallResponse:
        """Returns one call with its attempts."""
        call = self._query.call(request.id)
        if not actor_of(context).may_touch(call.caller.team):
            raise PermissionDenied(f"call {request.id[:80]} is of another team: the platform and finance roles may")
        return pb.GetCallResponse(call=messages.call_message(call))

    def TailCalls(self, request: pb.TailCallsRequest, context: grpc.ServicerContext) -> Iterator[pb.TailCallsResponse]:
        """Streams every call as it is booked, from now on."""
        selection = confine(parse_filter(request.filter), actor_of(context))
        if not self._tails.acquire(blocking=False):
            raise Unavailable(f"{TAILS_MAX} tails are open already: close one of them")
        try:
            # The headers tell the client that it misses nothing from here on.
            steps = self._query.follow(selection)
            next(steps)
            context.send_initial_metadata(())
            while context.is_active() and not self._stopping.is_set():
                found = next(steps)
                yield from (pb.TailCallsResponse(call=messages.call_message(call)) for call in found)
                if not found:
                    self._stopping.wait(_TAIL_INTERVAL_S)
        finally:
            self._tails.release()

    def ListAlerts(self, request: pb.ListAlertsRequest, context: grpc.ServicerContext) -> pb.ListAlertsResponse:
        """Returns one page of alerts, newest first."""
        before = read_position(request.page_token, count=3)
        alerts, following = self._query.alerts(
            (before[0], before[1], before[2]) if before else None, check_page_size(request.page_size)
        )
        return pb.ListAlertsResponse(
            alerts=[messages.alert_message(alert) for alert in alerts],
            next_page_token=write_position(following or ()),
        )

    def ListAlertChannels(
        self, request: pb.ListAlertChannelsRequest, context: grpc.ServicerContext
    ) -> pb.ListAlertChannelsResponse:
        """Lists the channels that alerts can go to."""
        return pb.ListAlertChannelsResponse(channels=[channel_message(each) for each in self._deliver.channels()])

    def TestAlertChannel(
        self, request: pb.TestAlertChannelRequest, context: grpc.ServicerContext
    ) -> pb.TestAlertChannelResponse:
        """Sends a test to a channel, and says whether it arrived."""
        failure = self._deliver.test(request.name)
        return pb.TestAlertChannelResponse(problem="" if failure is None else failure.problem)

    def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.ListDeliveriesResponse:
        """Returns one page of deliveries, newest first."""
        before = read_position(request.page_token, count=2)
        found, following = self._deliver.deliveries(
            (before[0], before[1]) if before else None,
            check_page_size(request.page_size),
            failed_only=request.failed_only,
        )
        return pb.ListDeliveriesResponse(
            deliveries=[delivery_message(each) for each in found], next_page_token=write_position(following or ())
        )

    def RetryDelivery(
        self, request: pb.RetryDeliveryRequest, context: grpc.ServicerContext
    ) -> pb.RetryDeliveryResponse:
        """Lets a delivery that was given up begin anew."""
        return pb.RetryDeliveryResponse(delivery=delivery_message(self._deliver.retry(request.id)))

    def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditEntriesResponse:
        """Lists configuration changes, newest first."""
        page = self._audit.page(request)
        return pb.ListAuditEntriesResponse(audit_entries=page.audit_entries, next_page_token=page.next_page_token)

    def GetLedgerStatus(
        self, request: pb.GetLedgerStatusRequest, context: grpc.ServicerContext
    ) -> pb.GetLedgerStatusResponse:
        """Returns this process's view of its state."""
        status = self._status()
        through_ms = status.booked_through_ms
        written = pb.LedgerStatus(
            price_version=self._prices.version,
            booked_calls=status.booked_calls,
            unsettled_calls=status.unsettled_calls,
            booked_through_time=None if through_ms is None else timestamp(through_ms),
            unreadable_lines=status.unreadable_lines,
            spool_backlog_bytes=status.spool_backlog_bytes,
            check_time=timestamp(status.check.checked_ms) if status.check.checked_ms else None,
            checked_counters=status.check.counters,
            drift_nano_usd=status.check.drift_nano_usd,
            unpriced_counters=status.check.unpriced,
            repaired_counters=status.check.repaired,
            swept_reservations=status.swept_reservations,
            dropped_spans=status.dropped_spans,
            refusals_without_spans=status.refusals_without_spans,
            dropped_headers=[messages.dropped_header(*one) for one in status.dropped_headers],
        )
        return pb.GetLedgerStatusResponse(status=written)
