"""Starts a service, waits for a signal, stops it. The only place besides `main` that knows the system's clock.

Exit codes: 0 after a signal, 2 when the settings are wrong, 1 when the start failed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import orjson

from services.chassis.settings import Environ, SettingsError

RUN_FOLDER = "run"
"""Folder of the sockets inside the data directory. Processes work there, so that socket addresses are relative and
never reach the 108 bytes that the kernel allows."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger("spendgate.process")

T = TypeVar("T")


class SystemClock:
    """The system's clock, as `services.kernel.clock.Clock`."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


class Service(Protocol):
    """What a process runs."""

    def start(self) -> None:
        """Returns when the service answers."""
        ...

    def stop(self) -> None:
        """Returns when everything in hand is finished or safe."""
        ...


class AsyncService(Protocol):
    """What a process runs on an event loop."""

    async def start(self) -> None:
        """Returns when the service answers."""
        ...

    async def stop(self) -> None:
        """Returns when everything in hand is finished or safe."""
        ...


def run(name: str, build: Callable[[Environ], Service]) -> None:
    """Runs a service until SIGTERM or SIGINT, then exits the process."""
    # Blocked before the first thread starts, so that every thread inherits it, and then waited for. A handler that sets
    # an event would deadlock when it interrupts the wait for that event: the event's lock is not reentrant.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    service = _prepared(name, build)
    service.start()
    _log.info("%s started", name)
    signal.sigwait(_STOP_SIGNALS)
    service.stop()
    _log.info("%s stopped", name)


def run_async(name: str, build: Callable[[Environ], AsyncService]) -> None:
    """Like `run`, for a service that lives on an event loop."""
    service = _prepared(name, build)

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stopping.set)
        await service.start()
        _log.info("%s started", name)
        await stopping.wait()
        await service.stop()
        _log.info("%s stopped", name)

    asyncio.run(serve())


def configure_logging(level: str) -> None:
    """Writes one JSON object a line to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """A record as one line of JSON. What came from outside cannot start a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats one record."""
        line: dict[str, object] = {
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def _prepared(name: str, build: Callable[[Environ], T]) -> T:
    environ = Environ(os.environ)  # noqa: TID251  (this is that one place)
    try:
        configure_logging(environ.text("SPENDGATE_LOG_LEVEL", "info"))
        run_dir = environ.path("SPENDGATE_DATA_DIR") / RUN_FOLDER
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(run_dir)
        # Nothing that a service creates is for other users of the machine.
        os.umask(0o077)
        return build(environ)
    except SettingsError as error:
        _log.error("%s: %s", name, error)
        sys.exit(2)
    except Exception:  # noqa: BLE001  (whatever it was, it goes to the log and into the exit code)
        _log.exception("%s could not start", name)
        sys.exit(1)
