"""The router's start-up settings. `docs/settings.md` describes the variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.installed import envoy_files
from services.chassis.sealed_text import SealingKeys
from services.chassis.settings import Environ
from services.kernel.envoy_contract import MAX_QUOTAS, MAX_STREAM_S
from services.router.domain.snapshot import NodeSettings

_MAX_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one process."""

    data_dir: Path
    envoy_files: Path
    """Folder of `bootstrap.yaml` and `lua/`."""
    node: NodeSettings
    """Settings for every Envoy. The epoch is empty: each Envoy brings its own."""
    retire_after_ms: int
    """How long a cluster stays after the last plan named it: as long as a request can live."""
    sealing_keys: SealingKeys
    """They open sealed credentials."""
    environ: Environ = field(repr=False)
    """Holds the credentials that a configuration refers to by variable."""

    @classmethod
    def from_environ(cls, environ: Environ) -> Settings:
        """Reads the environment.

        Raises:
            SettingsError: a variable is missing or unreadable. The text names it.
        """
        data_dir = environ.path("SPENDGATE_DATA_DIR")
        node = _node_settings(environ, data_dir)
        retire_after_s = environ.integer("SPENDGATE_RETIRE_AFTER_S", node.max_stream_seconds, low=0, high=_MAX_SECONDS)
        return cls(
            data_dir=data_dir,
            envoy_files=environ.path("SPENDGATE_ENVOY_FILES", str(envoy_files())),
            node=node,
            retire_after_ms=retire_after_s * 1_000,
            sealing_keys=SealingKeys.from_environ(environ),
            environ=environ,
        )


def _node_settings(environ: Environ, data_dir: Path) -> NodeSettings:
    data_host, data_port = environ.address("SPENDGATE_LISTEN", "127.0.0.1:10000")
    admin_host, admin_port = environ.address("SPENDGATE_ADMIN_LISTEN", "127.0.0.1:10001")
    return NodeSettings(
        epoch="",
        data_host=data_host,
        data_port=data_port,
        admin_host=admin_host,
        admin_port=admin_port,
        spool_dir=str(data_dir / "spool"),
        log_dir=str(data_dir / "logs"),
        max_stream_seconds=environ.integer("SPENDGATE_MAX_STREAM_S", MAX_STREAM_S, low=1, high=_MAX_SECONDS),
        check_timeout_ms=environ.integer("SPENDGATE_CHECK_TIMEOUT_MS", 500, low=50, high=10_000),
        quotas=environ.integer("SPENDGATE_QUOTA_REPLICAS", 1, low=1, high=MAX_QUOTAS),
        tls_certificate=environ.optional("SPENDGATE_TLS_CERTIFICATE") or "",
        tls_private_key=environ.optional("SPENDGATE_TLS_PRIVATE_KEY") or "",
        provider_roots=environ.optional("SPENDGATE_PROVIDER_ROOTS") or "",
    )
