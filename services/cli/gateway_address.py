"""Where a running gateway is, and with which credentials. It loads nothing that talks to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.problems import Misuse

DEFAULT_ADMIN = "127.0.0.1:10001"
DEFAULT_DATA_DIR = Path(".spendgate")
TOKEN_FILE = "admin-token"  # noqa: S105  (the name of a file)
TOKEN_VARIABLE = "SPENDGATE_TOKEN"  # noqa: S105  (the name of a variable)


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """The gateway's address and credentials."""

    admin: str
    """HOST:PORT of the admin listener."""
    token: str
    certificate: bytes | None = None
    """PEM of the authority that signed the admin listener's certificate. None: no TLS."""
    sockets: Mapping[str, str] = field(default_factory=dict)
    """gRPC addresses of "quota", "router" and "ledger" themselves, for a client in their folder on the same machine."""


def find_gateway(
    admin: str, data_dir: Path, environ: Mapping[str, str], certificate: Path | None = None
) -> GatewayAddress:
    """Locates the gateway at `admin`, with the token from SPENDGATE_TOKEN or else from the data directory.

    Raises:
        Misuse: there is no token.
    """
    token = environ.get(TOKEN_VARIABLE, "").strip() or _read_token(data_dir / TOKEN_FILE)
    try:
        pem = certificate.read_bytes() if certificate is not None else None
    except OSError as error:
        raise Misuse(f"{certificate} cannot be read: {error.strerror}") from error
    return GatewayAddress(admin, token, pem)


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(
            f"no admin token: {path} cannot be read. Name the gateway's data directory with --data-dir, "
            f"or set {TOKEN_VARIABLE}"
        ) from error
