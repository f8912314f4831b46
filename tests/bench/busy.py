"""What a caller notices while the gateway has other work: `python -m tests.bench.busy`.

Calls come at a moderate rate: first with nothing else to do, then while the calls of an outage of the ledger are
settled, while `simulate` replays a month, and while reports read a large ledger. The rounds are interleaved. Each round
starts the gateway anew, so that it settles the calls of an earlier process, which is the most work.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from services.kernel.names import reservation_id
from tests.bench.driver import Load, Result
from tests.bench.gateways import CONFIGURATION, MODELS
from tests.bench.processes import ROOT, family, pinned, start, start_module, stop
from tests.bench.upstream import SLOW_MODEL
from tests.worlds.ports import free_port

_MONTH_MS = 30 * 86_400_000
_KEYS = 500
"""Keys in the large ledger. A report by key and hour has rows for each."""
_CONNECTIONS = 32
_BODY = {"model": MODELS["openai"], "messages": [{"role": "user", "content": "Say hello. " * 150}], "max_tokens": 100}
_PATIENCE_S = 300.0
_FIGURES = ("p50_ms", "p99_ms", "max_ms", "late_p99_ms")
_SPENDGATE = ROOT / ".venv" / "bin" / "spendgate"

QUIET, SETTLING, SIMULATING, REPORTING = "nothing else", "settling", "simulate", "reports"


@dataclass(slots=True)
class Gateway:
    """A gateway on a folder of its own, which is started and stopped several times."""

    folder: Path
    upstream_port: int
    core: int | None
    load_core: int | None
    port: int = 0
    admin: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    process: subprocess.Popen[str] | None = None
    environ: dict[str, str] = field(
        default_factory=lambda: {"BENCH_KEY": f"bench-{secrets.token_hex(16)}", "BENCH_PROVIDER_KEY": "bench"}
    )

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.folder / "spendgate.yaml"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def database(self, service: str) -> sqlite3.Connection:
        """The database of a service."""
        return sqlite3.connect(self.data / "db" / f"{service}.sqlite", isolation_level=None, timeout=60)

    def start(self) -> None:
        """Starts it. Returns when it answers calls."""
        self.file.write_text(CONFIGURATION.format(upstream_port=self.upstream_port, slow_model=SLOW_MODEL))
        command: list[str | Path] = [_SPENDGATE, "up", "--file", self.file, "--data-dir", self.data]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", self.admin, "--envoy-concurrency", "1"]
        log = self.folder / "spendgate.log"
        self.process = start(command, core=self.core, log=log, environ=self.environ)
        for line in self.process.stdout or ():
            if line.startswith("ready "):
                self.port = int(line.strip().rpartition(":")[2])
                return
        raise RuntimeError(f"the gateway did not start:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stops it."""
        if self.process is not None:
            stop(self.process)
            self.process = None

    def signal(self, role: str, number: signal.Signals) -> None:
        """Sends a signal to one of its processes."""
        assert self.process is not None
        os.kill(family(self.process.pid)[role], number)

    def drive(self, rate_per_s: float, seconds: float) -> Result:
        """Sends calls at this rate."""
        headers = {"authorization": f"Bearer {self.environ['BENCH_KEY']}"}
        load = Load(self.port, json.dumps(_BODY), headers, rate_per_s, seconds, 0.5, _CONNECTIONS)
        with pinned(self.load_core):
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.driver"],
                input=json.dumps(asdict(load)),
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
        result = Result(**json.loads(done.stdout))
        if result.unanswered:
            say(
                f"{result.unanswered} of {result.issued} calls had no answer: {result.statuses}, {result.failed} failed"
            )
        return result

    @contextmanager
    def running(self, *arguments: str | Path) -> Iterator[None]:
        """A command of the command line, over and over, for the length of the block."""
        log = self.folder / "command.log"
        command = [_SPENDGATE, *arguments, "--admin", self.admin, "--data-dir", self.data]
        script = (
            "import subprocess, sys\nwhile not subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode: pass"
        )
        process = start([sys.executable, "-c", script, *command], core=self.load_core, log=log, environ=self.environ)
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"`spendgate {arguments[0]}` failed:\n{log.read_text()[-2000:]}")
        finally:
            for child in _children(process.pid) if process.poll() is None else ():
                os.kill(child, signal.SIGKILL)
            stop(process)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def leave_open(gateway: Gateway) -> tuple[tuple[str, ...], dict[str, object]]:
    """A reservation that is open, and the entry of its call: the patterns of all others."""
    gateway.signal("ledger", signal.SIGSTOP)
    gateway.drive(10, 0.1)
    with closing(gateway.database("quota")) as connection:
        reservation = connection.execute("SELECT id, request_id, epoch, record FROM reservations LIMIT 1").fetchone()
    gateway.signal("ledger", signal.SIGCONT)
    wait_until_settled(gateway)
    with closing(gateway.database("ledger")) as connection:
        connection.row_factory = sqlite3.Row
        entry = dict(connection.execute("SELECT * FROM entries LIMIT 1").fetchone())
    return reservation, entry


def unsettled(gateway: Gateway) -> int:
    """How many entries quota does not know."""
    with closing(gateway.database("ledger")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM entries WHERE settled_ms IS NULL").fetchone()
    return int(count)


def wait_until_settled(gateway: Gateway) -> None:
    """Waits until every entry is settled."""
    deadline = time.monotonic() + _PATIENCE_S
    while unsettled(gateway) or not has_entries(gateway):
        if time.monotonic() > deadline:
            raise RuntimeError("calls are not settled")
        time.sleep(0.2)


def has_entries(gateway: Gateway) -> bool:
    """Whether anything is booked."""
    with closing(gateway.database("ledger")) as connection:
        return connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone() is not None


def fill_ledger(gateway: Gateway, entry: dict[str, object], count: int) -> None:
    """Books so many calls of the last month, of another team, straight into the tables."""
    now_ms = time.time_ns() // 1_000_000
    changed = {
        "id": "'past-' || printf('%010d', n)",
        "request_id": "'past-' || printf('%010d', n)",
        "time_ms": f"{now_ms - _MONTH_MS} + n * {_MONTH_MS} / {count}",
        "admitted_ms": f"{now_ms - _MONTH_MS} + n * {_MONTH_MS} / {count}",
        "settled_ms": str(now_ms),
        "team": "'past'",
        "key": f"'key-' || (n % {_KEYS})",
        "key_id": f"'key_' || (n % {_KEYS})",
    }
    with closing(gateway.database("ledger")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TEMP TABLE t (n INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(count)))
        _copy(connection, "entries", entry, changed)
        connection.execute(
            "INSERT INTO rollups SELECT time_ms - time_ms % 3600000, team, project, environment, user, key,"
            " model_requested, model_served, 'ok', count(*), sum(input_tokens), sum(cached_input_tokens),"
            " sum(output_tokens), sum(coalesce(cost_nano_usd, 0)), 0, 0 FROM entries WHERE team = 'past'"
            " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
        )
        connection.execute("COMMIT")


def leave_backlog(
    gateway: Gateway, patterns: tuple[tuple[str, ...], dict[str, object]], number: int, count: int
) -> None:
    """Leaves so many calls that are booked and not settled, as after an outage. The gateway is stopped."""
    (_, _, epoch, record), entry = patterns
    now_ms = time.time_ns() // 1_000_000
    ids = [reservation_id(now_ms, (number * 10_000_000 + at).to_bytes(8, "big")) for at in range(count)]
    with closing(gateway.database("quota")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO reservations (id, request_id, epoch, record) VALUES (?, ?, ?, ?)",
            [(name, name, epoch, record) for name in ids],
        )
        connection.execute("COMMIT")
    with closing(gateway.database("ledger")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TEMP TABLE t (n TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(name,) for name in ids])
        _copy(connection, "entries", entry, {"id": "n", "request_id": "n", "settled_ms": "NULL"})
        connection.execute("COMMIT")


def _copy(connection: sqlite3.Connection, table: str, row: dict[str, object], changed: dict[str, str]) -> None:
    """Copies a row once for each `n` of `t`, with these columns computed."""
    names = [name for name in row if name != "sequence"]
    computed = ", ".join(changed.get(name, "?") for name in names)
    quoted = ", ".join(f'"{name}"' for name in names)
    connection.execute(
        f"INSERT INTO {table} ({quoted}) SELECT {computed} FROM t",  # noqa: S608  (our own names)
        [row[name] for name in names if name not in changed],
    )


def run_round(gateway: Gateway, arguments: argparse.Namespace) -> Iterator[tuple[str, Result]]:
    """Measures each kind of work once. The gateway has just been started with a backlog."""

    def drive() -> Result:
        return gateway.drive(arguments.rate, arguments.seconds)

    before = unsettled(gateway)
    settling = drive()
    say(f"settled {before - unsettled(gateway)} of {before} calls meanwhile")
    yield SETTLING, settling
    wait_until_settled(gateway)
    yield QUIET, drive()
    with gateway.running("simulate", "--file", gateway.file, "--since", "30d", "--json"):
        time.sleep(1)
        yield SIMULATING, drive()
    with gateway.running("usage", "--by", "key,hour", "--since", "30d", "--json"):
        time.sleep(1)
        yield REPORTING, drive()


def main() -> None:
    """Reads the command line and runs."""
    arguments = _arguments()
    cores = sorted(os.sched_getaffinity(0))
    core, load_core = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    folder = Path(tempfile.mkdtemp(prefix="spendgate-busy-"))
    results: dict[str, list[Result]] = defaultdict(list)
    with ExitStack() as stack:
        upstream, port = start_module("tests.bench.upstream", core=load_core, log=folder / "upstream.log")
        stack.callback(stop, upstream)
        gateway = Gateway(folder, port, core, load_core)
        stack.callback(gateway.stop)
        gateway.start()
        patterns = leave_open(gateway)
        gateway.stop()
        say(f"{arguments.entries} calls into the ledger")
        fill_ledger(gateway, patterns[1], arguments.entries)
        for number in range(1, arguments.rounds + 1):
            say(f"round {number} of {arguments.rounds}")
            leave_backlog(gateway, patterns, number, arguments.calls)
            gateway.start()
            for name, result in run_round(gateway, arguments):
                results[name].append(result)
            gateway.stop()
    print_table(results, arguments)


def print_table(results: dict[str, list[Result]], arguments: argparse.Namespace) -> None:
    """Prints medians over the rounds."""
    say(f"{arguments.rate:g} calls a second, {arguments.calls} calls to settle, {arguments.entries} in the ledger")
    # If the driver itself sends late, the other figures are of the machine and not of the gateway.
    print("| meanwhile | p50 ms | p99 ms | longest ms | driver late, p99 ms |\n|---|---|---|---|---|")  # noqa: T201  (the result)
    for name in (QUIET, SETTLING, SIMULATING, REPORTING):
        some = results[name]
        figures = (median(getattr(each, what) for each in some) for what in _FIGURES)
        print(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")  # noqa: T201  (the result)


def say(text: str) -> None:
    """Reports progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.busy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the table shows medians")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second")
    parser.add_argument("--calls", type=int, default=100_000, help="calls to settle after an outage, in each round")
    parser.add_argument("--entries", type=int, default=1_000_000, help="calls in the ledger; try 10000000, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
