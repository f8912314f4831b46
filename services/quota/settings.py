"""What quota is started with. The variables are described in `docs/settings.md`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.chassis.settings import Environ
from services.kernel.envoy_contract import MAX_STREAM_S, Socket


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one process. Socket addresses are relative to `<data dir>/run`, where it works."""

    data_dir: Path
    otlp_endpoint: str | None
    max_stream_ms: int
    """How long a request may live; as Envoy's `max_stream_duration`."""
    check_address: str = f"unix:{Socket.QUOTA}"
    admin_address: str = f"unix:{Socket.QUOTA_ADMIN}"
    router_address: str = f"unix:{Socket.ROUTER}"
    ledger_address: str = f"unix:{Socket.LEDGER}"

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
            SettingsError: a variable is missing or cannot be read; the text names it.
        """
        return cls(
            data_dir=environ.path("SPENDGATE_DATA_DIR"),
            otlp_endpoint=environ.optional("SPENDGATE_OTLP_ENDPOINT"),
            max_stream_ms=environ.integer("SPENDGATE_MAX_STREAM_S", MAX_STREAM_S, low=1, high=86_400) * 1_000,
        )
