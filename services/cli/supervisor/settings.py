"""A supervisor's start-up settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.cli.supervisor.listening import Listen

DEFAULT_LISTEN = "127.0.0.1:10000"
DEFAULT_ADMIN_LISTEN = "127.0.0.1:10001"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the data and admin listeners."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """Locations and time limits."""

    data_dir: Path
    """Absolute."""
    listen: Listen
    admin_listen: Listen
    tls: TlsFiles | None = None
    insecure: bool = False
    """Allows plain text on an address that other machines can reach."""
    otlp_endpoint: str | None = None
    """HOST:PORT of an OTLP/gRPC receiver. None: no traces."""
    envoy_concurrency: int = 2
    """Worker threads of Envoy."""
    counters_url: str | None = field(default=None, repr=False)
    """URL of the Redis that holds the counters, perhaps with a password. None: quota keeps them itself."""
    quotas: int = 1
    """Number of quotas that answer Checks. More than one require `counters_url`."""
    log_level: str = "info"
    start_timeout_s: float = 60.0
    drain_timeout_s: float = 10.0
    """How long calls in flight may take to finish when the gateway stops."""
    booking_timeout_s: float = 20.0
    """How long the ledger may take to book and settle the rest when the gateway stops."""
    stop_timeout_s: float = 10.0
    """How long one process may take to end before it is killed."""
