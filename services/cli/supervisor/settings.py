"""What a supervisor is started with."""

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
    """Where everything is and how long things may take."""

    data_dir: Path
    """Absolute."""
    listen: Listen
    admin_listen: Listen
    tls: TlsFiles | None = None
    insecure: bool = False
    """Allows plain text on an address that other machines reach."""
    otlp_endpoint: str | None = None
    """HOST:PORT of an OTLP/gRPC receiver. None: no traces."""
    envoy_concurrency: int = 2
    """Worker threads of Envoy."""
    counters_url: str | None = field(default=None, repr=False)
    """Of the Redis that holds the counters, perhaps with a password. None: quota keeps them itself."""
    quotas: int = 1
    """How many quotas answer Checks. More than one need `counters_url`."""
    log_level: str = "info"
    start_timeout_s: float = 60.0
    drain_timeout_s: float = 10.0
    """How long calls in flight may take to finish when the gateway stops."""
    booking_timeout_s: float = 20.0
    """How long the ledger may take to book and settle what is left when the gateway stops."""
    stop_timeout_s: float = 10.0
    """How long one process may take to end before it is killed."""
