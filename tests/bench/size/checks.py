"""What a call costs quotas of different sizes. They are asked in turn, so that a busy machine slows all equally."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import grpc

from services.chassis.grpc_server import open_channel
from services.quota.transport.authorization import SERVICE
from tests.bench.processes import cpu_s, resident_mib, start, stop
from tests.bench.size.quota import Ready, Size, check_message

CHECKS = 1_000
"""In each turn, of each size."""
TURNS = 4
"""In each round."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Sizes that differ in one thing. The first is the base of the ratios."""

    what: str
    sizes: Sequence[Size]

    def value(self, size: Size) -> int:
        """What the sizes differ in."""
        values: dict[str, int] = asdict(size)
        return values[self.what]


GROUPS = (
    Group("keys", [Size(keys=keys) for keys in (10, 1_000, 100_000, 1_000_000)]),
    Group("teams", [Size(teams=teams, keys=10_000) for teams in (10, 1_000, 10_000)]),
    Group("limits", [Size(limits=limits) for limits in (1, 3, 10, 20)]),
    Group("open", [Size(open=open_) for open_ in (0, 1_000, 10_000, 100_000)]),
)


@dataclass(slots=True)
class Cost:
    """What one size costs, one value for each turn. Microseconds of CPU time in quota's process."""

    size: Size
    check_us: list[float] = field(default_factory=list)
    """Of keys that called before."""
    first_us: list[float] = field(default_factory=list)
    """First calls of their keys. Empty if all keys called before."""
    settle_us: list[float] = field(default_factory=list)
    resident_mib: float = 0.0
    start_s: float = 0.0


class _Server:
    """A quota that runs as a process, and how to ask it."""

    def __init__(self, size: Size, process: subprocess.Popen[str], ready: Ready, channel: grpc.Channel) -> None:
        self.cost = Cost(size, start_s=ready.start_s)
        self._process = process
        self._check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Check")
        self._fresh = size.called_before
        """The lowest key that has not called yet."""

    def turn(self, luck: Random, threads: ThreadPoolExecutor) -> None:
        """Asks for random keys that called before, then for keys that did not, and has all calls settled."""
        size = self.cost.size
        known = luck.choices(range(size.called_before), k=CHECKS)
        self.cost.check_us.append(self._ask(known, threads))
        fresh = range(self._fresh, min(self._fresh + CHECKS, size.keys))
        if len(fresh) == CHECKS:
            self.cost.first_us.append(self._ask(fresh, threads))
            self._fresh += CHECKS
        self.cost.resident_mib = resident_mib(self._process.pid)

    def forget(self) -> None:
        """Drops what was measured so far, to warm up."""
        self.cost.check_us, self.cost.first_us, self.cost.settle_us = [], [], []

    def _ask(self, keys: Sequence[int], threads: ThreadPoolExecutor) -> float:
        messages = [check_message(number) for number in keys]
        before = cpu_s(self._process.pid)
        for _ in threads.map(self._check, messages):
            pass
        cost = (cpu_s(self._process.pid) - before) / len(messages) * 1e6
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout
        self.cost.settle_us.append(float(self._process.stdout.readline()))
        return cost


def measure(group: Group, rounds: int, core: int | None) -> list[Cost]:
    """The costs of all sizes of a group, in its order."""
    luck = Random(1)
    with ExitStack() as stack, ThreadPoolExecutor(_AT_ONCE) as threads:
        servers = [stack.enter_context(_served(size, core)) for size in group.sizes]
        for turn in range(1 + rounds * TURNS):
            for server in servers:
                server.turn(luck, threads)
                if not turn:
                    server.forget()
    return [server.cost for server in servers]


@contextmanager
def _served(size: Size, core: int | None) -> Iterator[_Server]:
    with TemporaryDirectory(prefix="spendgate-size-") as folder:
        log = Path(folder) / "quota.log"
        arguments = [sys.executable, "-m", "tests.bench.size.quota", json.dumps(asdict(size)), folder]
        process = start(arguments, core=core, log=log)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError(f"a quota of {size} did not start:\n{log.read_text()[-2000:]}")
            ready = Ready(**json.loads(line))
            with open_channel(ready.address) as channel:
                yield _Server(size, process, ready, channel)
        finally:
            stop(process)
