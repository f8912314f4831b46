"""A real ledger process, and a quota that a test scripts, both on Unix sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from spendgate.ledger.v1 import ledger_service_pb2 as pb
from spendgate.ledger.v1 import ledger_service_pb2_grpc as pb_grpc
from spendgate.quota.v1 import counter_service_pb2 as counters_pb
from spendgate.quota.v1 import counter_service_pb2_grpc as counters_grpc
from spendgate.quota.v1 import reservation_service_pb2 as quota_pb
from spendgate.quota.v1 import reservation_service_pb2_grpc as quota_grpc

from services.chassis.grpc_server import open_channel

ROOT = Path(__file__).resolve().parents[2]
# Far longer than anything takes, on a machine that does other things too.
WAIT_S = 60.0


@dataclass
class ScriptedQuota(quota_grpc.ReservationServiceServicer, counters_grpc.CounterServiceServicer):
    """Remembers requests and answers as the test wants."""

    settled: dict[str, quota_pb.Settlement] = field(default_factory=dict)
    settled_twice: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    overdue_requests: list[quota_pb.ListOverdueReservationsRequest] = field(default_factory=list)
    overdue: list[quota_pb.OverdueReservation] = field(default_factory=list)
    crossings: list[quota_pb.Crossing] = field(default_factory=list)
    crossings_after: list[int] = field(default_factory=list)
    counters: list[counters_pb.ListCountersResponse] = field(default_factory=list)
    ready: bool = True
    deaf: bool = False
    adjusted: list[counters_pb.CounterAdjustment] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    restored: list[counters_pb.CounterSum] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def GetCounterState(
        self, request: counters_pb.GetCounterStateRequest, context: grpc.ServicerContext
    ) -> counters_pb.GetCounterStateResponse:
        held = [] if self.ready else self.held
        state = counters_pb.CounterState(
            ready=self.ready, limits_version=str(len(self.counters)), held_reservations=held
        )
        return counters_pb.GetCounterStateResponse(counter_state=state)

    def ListCounters(
        self, request: counters_pb.ListCountersRequest, context: grpc.ServicerContext
    ) -> Iterator[counters_pb.ListCountersResponse]:
        yield from self.counters

    def AdjustCounters(
        self, request: counters_pb.AdjustCountersRequest, context: grpc.ServicerContext
    ) -> counters_pb.AdjustCountersResponse:
        self.adjusted.extend(request.adjustments)
        return counters_pb.AdjustCountersResponse(adjusted=len(request.adjustments))

    def RestoreCounters(
        self, request_iterator: Iterator[counters_pb.RestoreCountersRequest], context: grpc.ServicerContext
    ) -> counters_pb.RestoreCountersResponse:
        parts = list(request_iterator)
        self.restored = [each for part in parts for each in part.sums]
        self.ended = [each for part in parts for each in part.ended_reservations]
        self.ready = True
        return counters_pb.RestoreCountersResponse()

    def SettleReservations(
        self, request: quota_pb.SettleReservationsRequest, context: grpc.ServicerContext
    ) -> quota_pb.SettleReservationsResponse:
        if self.deaf or not self.ready:
            context.abort(grpc.StatusCode.UNAVAILABLE, "nothing is settled now")
        response = quota_pb.SettleReservationsResponse()
        for settlement in request.settlements:
            again = settlement.reservation in self.settled
            (response.already_ended if again else response.settled).append(settlement.reservation)
            if again:
                self.settled_twice.append(settlement.reservation)
            self.settled[settlement.reservation] = settlement
        self.overdue = [each for each in self.overdue if each.reservation not in self.settled]
        self.crossings_after.append(request.crossings_after)
        response.crossings.extend(each for each in self.crossings if each.sequence > request.crossings_after)
        return response

    def ReleaseReservations(
        self, request: quota_pb.ReleaseReservationsRequest, context: grpc.ServicerContext
    ) -> quota_pb.ReleaseReservationsResponse:
        self.released.extend(request.request_ids)
        ended = {*self.open} & {*request.reservations}
        self.open = [each for each in self.open if each not in ended]
        return quota_pb.ReleaseReservationsResponse(released=len(request.request_ids) + len(ended))

    def ListOpenReservations(
        self, request: quota_pb.ListOpenReservationsRequest, context: grpc.ServicerContext
    ) -> quota_pb.ListOpenReservationsResponse:
        behind = [each for each in sorted(self.open) if each > request.after]
        return quota_pb.ListOpenReservationsResponse(reservations=behind[: request.page_size])

    def ListOverdueReservations(
        self, request: quota_pb.ListOverdueReservationsRequest, context: grpc.ServicerContext
    ) -> quota_pb.ListOverdueReservationsResponse:
        self.overdue_requests.append(request)
        ended = [each for each in self.overdue if each.epoch in request.ended_epochs]
        return quota_pb.ListOverdueReservationsResponse(reservations=ended[: request.page_size])


@contextmanager
def serving(quota: ScriptedQuota, data_dir: Path) -> Iterator[None]:
    """Serves `quota` where the ledger of this data directory looks for it."""
    (data_dir / "run").mkdir(parents=True, exist_ok=True)
    server = grpc.server(ThreadPoolExecutor(4))
    quota_grpc.add_ReservationServiceServicer_to_server(quota, server)
    counters_grpc.add_CounterServiceServicer_to_server(quota, server)
    assert server.add_insecure_port(f"unix:{data_dir}/run/quota-admin.sock")
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


class LedgerProcess:
    """`python -m services.ledger.main` over a data directory."""

    def __init__(self, data_dir: Path, **environ: str) -> None:
        self._data_dir = data_dir
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self.log = data_dir / "ledger.log"

    def start(self, preexec: Callable[[], None] | None = None) -> None:
        """Starts it, not waiting for it to answer."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.ledger.main"],
                cwd=ROOT,
                env={**os.environ, "SPENDGATE_DATA_DIR": str(self._data_dir), **self._environ},
                stderr=log,
                preexec_fn=preexec,  # noqa: PLW1509  (sets a limit before the process starts; no thread of ours forks)
            )

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it and returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(WAIT_S)

    def end_if_running(self) -> None:
        """Leaves nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(WAIT_S)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A channel to it, once it answers."""
        with open_channel(f"unix:{self._data_dir}/run/ledger.sock") as channel:
            grpc.channel_ready_future(channel).result(WAIT_S)
            yield channel

    def status(self) -> pb.LedgerStatus:
        """What it believes."""
        with self.channel() as channel:
            answer = pb_grpc.LedgerServiceStub(channel).GetLedgerStatus(pb.GetLedgerStatusRequest())
            status: pb.LedgerStatus = answer.status
            return status


@contextmanager
def running(data_dir: Path, **environ: str) -> Iterator[LedgerProcess]:
    """A started ledger that ends with the block."""
    ledger = LedgerProcess(data_dir, **environ)
    ledger.start()
    try:
        yield ledger
    finally:
        ledger.end_if_running()


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something holds; fails when it does not in time."""
    deadline = time.monotonic() + WAIT_S
    never = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        never.wait(0.05)
