"""Starts a service, waits for a signal, stops it. Besides `main`, only this module knows the system's clock.

Exit codes: 0 after a signal, 2 when the settings are wrong, 1 when the start failed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import orjson

from services.chassis.heap import set_aside
from services.chassis.runtime import Runtime
from services.chassis.settings import Environ, SettingsError
from services.chassis.variables import refuse_unknown_variables
from services.kernel.clock import Clock

RUN_FOLDER = "run"
"""Folder of the sockets inside the data directory. It is every process's working directory, so socket addresses are
relative and never reach the kernel's limit of 108 bytes."""

# grpcio's core has threads of its own that read sockets and wake a thread of Python for each event. Where the threads
# of Python read for themselves, a call takes less CPU time (docs/adr/0029). grpcio documents this switch and reads it
# when it is first imported, so each `main` imports this module first. Who runs a service may still choose.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")  # noqa: TID251  (a setting of grpcio)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger("spendgate.process")

S = TypeVar("S")


class SystemClock:
    """The system's clock, as `services.kernel.clock.Clock`."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


def run(name: str, settings_of: Callable[[Environ], S], build: Callable[[S, Clock], Runtime]) -> None:
    """Runs a service until SIGTERM or SIGINT, then exits the process."""
    # The signals are blocked before the first thread starts, so that every thread inherits this. A handler that sets an
    # event would deadlock if it interrupted the wait for that event: the event's lock is not reentrant.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    runtime = _started(name, settings_of, build)
    _log.info("%s started", name)
    signal.sigwait(_STOP_SIGNALS)
    runtime.stop()
    _log.info("%s stopped", name)


def configure_logging(level: str) -> None:
    """Writes one JSON object per line to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON. Outside text cannot start a line of its own."""

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


def _started(name: str, settings_of: Callable[[Environ], S], build: Callable[[S, Clock], Runtime]) -> Runtime:
    environ = Environ(os.environ)  # noqa: TID251  (this is that one place)
    try:
        configure_logging(environ.text("SPENDGATE_LOG_LEVEL", "info"))
        refuse_unknown_variables(os.environ)  # noqa: TID251  (likewise)
        run_dir = environ.path("SPENDGATE_DATA_DIR") / RUN_FOLDER
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(run_dir)
        # Other users of the machine may read nothing that a service creates.
        os.umask(0o077)
        runtime = build(settings_of(environ), SystemClock())
        set_aside()
        runtime.start()
    except SettingsError as error:
        _log.error("%s: %s", name, error)
        sys.exit(2)
    except Exception:  # noqa: BLE001  (whatever it was, it goes to the log and into the exit code)
        _log.exception("%s could not start", name)
        sys.exit(1)
    return runtime
