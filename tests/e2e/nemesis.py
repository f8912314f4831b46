"""Breaks a running gateway, part by part and at random: with kills, pauses, and settlements repeated in any order.

Its steps come from a seed, so that a run can be repeated as far as the machine allows.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from spendgate.quota.v1 import reservation_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2_grpc as pb_grpc

from services.chassis.grpc_server import open_channel
from services.chassis.well_known import timestamp
from services.kernel.envoy_contract import Socket

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
_SHORTEST_GAP_S, _LONGEST_GAP_S = 0.5, 3.0
_LONGEST_AWAY_S = 1.5
_REPEATED_MOST = 200
_REPEAT_EVERY_S = 0.3
_RECENT = """
SELECT id, cost_nano_usd, input_tokens, output_tokens, time_ms + duration_ms FROM entries
WHERE settled_ms IS NOT NULL ORDER BY sequence DESC LIMIT ?
"""


@dataclass(frozen=True)
class Victim:
    """A part of the gateway."""

    send: Callable[[signal.Signals], None]
    """Raises `OSError` or `KeyError` while it does not run."""
    revive: Callable[[], None] = lambda: None
    """Starts it again after it was killed, if nobody else does."""


class Nemesis:
    """Kills and pauses at the same time, each part in turn, in an order of its own for each round."""

    def __init__(self, victims: Mapping[str, Victim], seed: int) -> None:
        self.done: Counter[str] = Counter()
        """How often it did each step: "kill redis", "pause quota-2"."""
        self._victims = victims
        self._seed = seed
        self._stopping = threading.Event()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Until the block ends; then everything runs again."""
        workers = [
            threading.Thread(target=self._work, args=(random.Random(f"{self._seed} {what.__name__}"), what))
            for what in (self._kill, self._pause)
        ]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stopping.set()
            for worker in workers:
                worker.join()

    def _work(self, source: random.Random, what: Callable[[random.Random, str], None]) -> None:
        names: list[str] = []
        while not self._stopping.wait(source.uniform(_SHORTEST_GAP_S, _LONGEST_GAP_S)):
            if not names:
                names = sorted(self._victims)
                source.shuffle(names)
            with contextlib.suppress(OSError, KeyError):
                what(source, names.pop())

    def _kill(self, source: random.Random, name: str) -> None:
        away_s = source.uniform(0, _LONGEST_AWAY_S)
        self._victims[name].send(signal.SIGKILL)
        self.done[f"kill {name}"] += 1
        time.sleep(away_s)
        self._victims[name].revive()

    def _pause(self, source: random.Random, name: str) -> None:
        pause_s = source.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S)
        self._victims[name].send(signal.SIGSTOP)
        self.done[f"pause {name}"] += 1
        try:
            time.sleep(pause_s)
        finally:
            self._victims[name].send(signal.SIGCONT)


class Repeater:
    """Sends all quotas the settlements that the ledger sent to one of them: several times, late, and in any order."""

    def __init__(self, data_dir: Path, quotas: int, seed: int) -> None:
        self.told = 0
        self.ended_again = 0
        """Reservations that were open when a repetition arrived."""
        self._database = data_dir / "db" / "ledger.sqlite"
        self._source = random.Random(seed)
        self._stopping = threading.Event()
        self._run = data_dir / "run"
        self._quotas = quotas

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Until the block ends."""
        worker = threading.Thread(target=self._work)
        worker.start()
        try:
            yield
        finally:
            self._stopping.set()
            worker.join()

    def _work(self) -> None:
        # Through the open folder a socket's address is short, however deep the test's own folder lies.
        run = os.open(self._run, os.O_RDONLY | os.O_DIRECTORY)
        sockets = [Socket.QUOTA_ADMIN.of(number) for number in range(1, self._quotas + 1)]
        channels = [open_channel(f"unix:/proc/self/fd/{run}/{socket}") for socket in sockets]
        stubs = [pb_grpc.ReservationServiceStub(channel) for channel in channels]
        try:
            while not self._stopping.wait(_REPEAT_EVERY_S):
                self._repeat(self._source.choice(stubs))
        finally:
            for channel in channels:
                channel.close()
            os.close(run)

    def _repeat(self, quota: pb_grpc.ReservationServiceStub) -> None:
        batch = self._batch()
        # A stopped quota gets nothing.
        with contextlib.suppress(grpc.RpcError):
            answer = quota.SettleReservations(batch, timeout=2)
            self.told += len(batch.settlements)
            self.ended_again += len(answer.settled)

    def _batch(self) -> pb.SettleReservationsRequest:
        """Some of the last entries, each perhaps twice, in any order."""
        rows = self._recent()
        chosen = self._source.choices(rows, k=min(len(rows), _REPEATED_MOST)) if rows else []
        return pb.SettleReservationsRequest(
            settlements=[
                pb.Settlement(
                    reservation=reservation,
                    cost_nano_usd=-1 if cost is None else cost,
                    input_tokens=input_tokens,
                    output_tokens=output_tokens,
                    end_time=timestamp(end_ms),
                )
                for reservation, cost, input_tokens, output_tokens, end_ms in chosen
            ],
            # The repetition uses its own position in the list of crossings, not the ledger's.
            crossings_after=2**62,
        )

    def _recent(self) -> Sequence[tuple[str, int | None, int, int, int]]:
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)
        try:
            return connection.execute(_RECENT, (_REPEATED_MOST,)).fetchall()
        finally:
            connection.close()
