"""Quota's settings. `docs/settings.md` describes the variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.settings import Environ, SettingsError
from services.chassis.trace_settings import TraceSettings, read_trace_settings
from services.kernel.envoy_contract import MAX_QUOTAS, MAX_STREAM_S, Socket

_SQLITE = "sqlite"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process. Socket addresses are relative to `<data dir>/run`, its working directory."""

    data_dir: Path
    traces: TraceSettings
    max_stream_ms: int
    """How long a request may live; the same as Envoy's `max_stream_duration`."""
    check_address: str = f"unix:{Socket.QUOTA}"
    admin_address: str = f"unix:{Socket.QUOTA_ADMIN}"
    router_address: str = f"unix:{Socket.ROUTER}"
    ledger_address: str = f"unix:{Socket.LEDGER}"
    counters_url: str | None = field(default=None, repr=False)
    """The URL of the Redis that holds the counters, perhaps with a password. None: they are in `database`."""
    number: int = 1
    """The number of this quota process. The first one makes all changes to what the processes share."""
    quotas: int = 1
    """The number of quota processes."""
    new_pepper: bool = False
    """If the pepper is lost, quota forgets all secrets and starts; otherwise it refuses to start."""

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "db" / "quota.sqlite"

    @property
    def pepper(self) -> Path:
        """The file of the pepper."""
        return self.data_dir / "pepper"

    @property
    def admin_token(self) -> Path:
        """The file of the admin token."""
        return self.data_dir / "admin-token"

    @classmethod
    def from_environ(cls, environ: Environ) -> Settings:
        """Reads the environment.

        Raises:
            SettingsError: a variable is missing or unreadable; the text names it.
        """
        counters = environ.text("SPENDGATE_COUNTERS", _SQLITE)
        quotas = environ.integer("SPENDGATE_QUOTA_REPLICAS", 1, low=1, high=MAX_QUOTAS)
        number = environ.integer("SPENDGATE_QUOTA_REPLICA", 1, low=1, high=quotas)
        if counters == _SQLITE and quotas > 1:
            raise SettingsError(
                f"SPENDGATE_QUOTA_REPLICAS={quotas}: counters in SQLite belong to one process, and each of "
                f"{quotas} would admit a whole budget: set SPENDGATE_COUNTERS to the URL of a Redis that all can reach"
            )
        return cls(
            data_dir=environ.path("SPENDGATE_DATA_DIR"),
            traces=read_trace_settings(environ),
            max_stream_ms=environ.integer("SPENDGATE_MAX_STREAM_S", MAX_STREAM_S, low=1, high=86_400) * 1_000,
            check_address=f"unix:{Socket.QUOTA.of(number)}",
            admin_address=f"unix:{Socket.QUOTA_ADMIN.of(number)}",
            counters_url=None if counters == _SQLITE else counters,
            number=number,
            quotas=quotas,
            new_pepper=environ.integer("SPENDGATE_NEW_PEPPER", 0, low=0, high=1) == 1,
        )
