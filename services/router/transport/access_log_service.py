"""Receives Envoy's log of attempts. It accepts everything and answers nothing, so it never delays an Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import grpc.aio
from spendgate_envoy.envoy.data.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from services.chassis.grpc_server import Registration
from services.kernel.clock import Clock
from services.kernel.envoy_contract import PROVIDER_STATUS_HEADER, TARGET_PSEUDO_HEADER
from services.router.domain.attempt import Attempt, Outcome, outcome_of
from services.router.usecases.attempt_log import AttemptLog, Report

SERVICE = "envoy.service.accesslog.v3.AccessLogService"

_Type = accesslog_pb2.AccessLogType
_TOO_MANY_REQUESTS = 429
_STATUS_DIGITS = 3
_MAX_RETRY_AFTER_MS = 3_600_000


class AccessLogService(als_pb2_grpc.AccessLogServiceServicer):
    """Feeds the log of attempts."""

    def __init__(self, log: AttemptLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(als_pb2_grpc.add_AccessLogServiceServicer_to_server, self))

    async def StreamAccessLogs(
        self,
        request_iterator: AsyncIterator[als_pb2.StreamAccessLogsMessage],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> als_pb2.StreamAccessLogsResponse:
        """Reads until the Envoy disconnects."""
        async for message in request_iterator:
            now_ms = self._clock.now_ms()
            entries = message.http_logs.log_entry
            reports = (read_report(entry, now_ms) for entry in entries)
            self._log.take(report for report in reports if report is not None)
            for entry in entries:
                # Only calls with a broken answer are logged.
                if entry.common_properties.access_log_type == _Type.DownstreamEnd:
                    self._log.broke(entry.request.request_id)
        return als_pb2.StreamAccessLogsResponse()


def read_report(entry: accesslog_pb2.HTTPAccessLogEntry, now_ms: int) -> Report | None:
    """Reads an entry about an attempt; None if the entry is about something else."""
    facts, target = entry.common_properties, entry.request.request_headers.get(TARGET_PSEUDO_HEADER)
    if facts.access_log_type not in {_Type.UpstreamEnd, _Type.UpstreamPeriodic} or not target:
        return None
    if not facts.upstream_cluster.startswith(f"{target.partition('/')[0]}."):
        # The attempt ended before its script ran, so the target is that of the attempt before.
        return None
    start_ms, status = facts.start_time.ToMilliseconds(), _status_of(entry.response)
    has_ended = facts.access_log_type == _Type.UpstreamEnd
    outcome = Outcome.OPEN
    if has_ended:
        outcome = outcome_of(
            status,
            is_whole=facts.HasField("time_to_last_upstream_rx_byte"),
            # Envoy sets no flag when it gives an attempt up because the client left.
            has_failed=facts.HasField("response_flags") and bool(facts.response_flags.ListFields()),
        )
    attempt = Attempt(
        target=target,
        start_ms=start_ms,
        # Envoy runs on this host, by the same clock.
        took_ms=facts.duration.ToMilliseconds() if facts.HasField("duration") else max(0, now_ms - start_ms),
        first_byte_ms=facts.time_to_first_upstream_rx_byte.ToMilliseconds()
        if facts.HasField("time_to_first_upstream_rx_byte")
        else None,
        outcome=outcome,
        status=status,
        retry_after_ms=_retry_after_ms(entry.response.response_headers, now_ms) if status == _TOO_MANY_REQUESTS else 0,
    )
    return Report(entry.request.request_id, attempt)


def _status_of(response: accesslog_pb2.HTTPResponseProperties) -> int:
    """Returns the status of the provider's answer, although the client may have got another."""
    replaced = response.response_headers.get(PROVIDER_STATUS_HEADER, "")
    return int(replaced) if replaced.isdecimal() and len(replaced) <= _STATUS_DIGITS else response.response_code.value


def _retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int:
    """Returns how long the provider asks us to stay away: at most an hour; 0 if it does not say, or not readably."""
    if (exact := headers.get("retry-after-ms", "")).isdecimal():
        return min(int(exact[:9]), _MAX_RETRY_AFTER_MS)
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(int(text[:9]) * 1_000, _MAX_RETRY_AFTER_MS)
    try:
        return min(max(0, int(parsedate_to_datetime(text).timestamp() * 1_000) - now_ms), _MAX_RETRY_AFTER_MS)
    except (ValueError, OverflowError):
        return 0
