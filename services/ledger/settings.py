"""The ledger's start-up settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.settings import Environ
from services.chassis.trace_settings import TraceSettings, read_trace_settings
from services.kernel.envoy_contract import MAX_STREAM_S, Socket

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the ledger process. Socket addresses are relative to its working directory, `<data dir>/run`."""

    data_dir: Path
    traces: TraceSettings
    stream_s_max: int
    """How long a request may live. Equals Envoy's `max_stream_duration`."""
    spool_file_bytes: int
    """A larger live spool file is rotated."""
    spool_keep_s: int
    """How long to keep a booked and closed spool file."""
    refused_log_bytes: int
    """A larger log of refused requests replaces the one old copy."""
    drift_check_s: int
    """How often to compare quota's counters with the entries."""
    environ: Environ = field(repr=False)
    """Where the secrets are that sign webhooks."""
    address: str = f"unix:{Socket.LEDGER}"
    quota_address: str = f"unix:{Socket.QUOTA_ADMIN}"
    envoy_admin_socket: str = Socket.ENVOY_ADMIN

    @classmethod
    def from_environ(cls, environ: Environ) -> Settings:
        """Reads the environment.

        Raises:
            SettingsError: a variable is missing or unreadable.
        """
        return cls(
            data_dir=environ.path("SPENDGATE_DATA_DIR"),
            traces=read_trace_settings(environ),
            stream_s_max=environ.integer("SPENDGATE_MAX_STREAM_S", MAX_STREAM_S, low=1, high=86_400),
            spool_file_bytes=environ.integer(
                "SPENDGATE_SPOOL_FILE_BYTES", 256 * _MEGABYTE, low=4_096, high=1_000_000 * _MEGABYTE
            ),
            spool_keep_s=environ.integer("SPENDGATE_SPOOL_KEEP_S", 7 * 86_400, low=0, high=10 * 366 * 86_400),
            refused_log_bytes=environ.integer(
                "SPENDGATE_REFUSED_LOG_BYTES", 64 * _MEGABYTE, low=4_096, high=1_000_000 * _MEGABYTE
            ),
            drift_check_s=environ.integer("SPENDGATE_DRIFT_CHECK_S", 60, low=1, high=86_400),
            environ=environ,
        )
