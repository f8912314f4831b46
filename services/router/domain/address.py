"""Base URLs of providers: which ones are accepted, and which are refused before anything connects.

A gateway that fetches any given URL can be made to ask the cloud's metadata service for credentials. An address has
many spellings (`0xa9fea9fe`, `::ffff:169.254.1.1`). All are decoded, and a spelling that two programs could read
differently is refused. Names that resolve to such an address: `usecases/watch_names.py`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from services.kernel.errors import InvalidInput
from services.router.domain.metadata_address import IpAddress, is_metadata_address, is_metadata_name

NEVER_A_PROVIDER = "a metadata service, where clouds hand out credentials, is never a provider: name another server"
_MAX_URL_CHARS = 2_048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_MAX_HOSTNAME_CHARS = 253
# The C library accepts these as an IPv4 address: one to four parts, each decimal, octal or hexadecimal.
_NUMERIC_HOST = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.(0[xX][0-9a-fA-F]*|[0-9]+)){0,3}")
# If its last label is a number, some programs read it as an address and others as a name.
_NUMERIC_LABEL = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~:@!$&'()*+,=-]+)*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect."""

    tls: bool
    hostname: str
    """A name, or an address without brackets."""
    port: int

    @property
    def host_header(self) -> str:
        """The value of the Host header: IPv6 in brackets, the port only if it is not the default."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return host if self.port == _DEFAULT_PORTS[self._scheme] else f"{host}:{self.port}"

    @property
    def _scheme(self) -> str:
        return "https" if self.tls else "http"


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """An origin and the path in front of a dialect's endpoints."""

    origin: Origin
    path: str
    """"" or a path like "/v1", with a leading and without a trailing slash."""


def parse_base_url(field: str, text: str) -> BaseUrl:
    """Reads a base URL from a configuration.

    Raises:
        InvalidInput: not an http or https URL of only host, port and path, or it points to a metadata service.
    """
    if not text.isascii() or len(text) > _MAX_URL_CHARS or re.search(r"[\x00-\x20\x7f\\]", text):
        raise InvalidInput(field, f"write a URL of at most {_MAX_URL_CHARS} ASCII characters without spaces")
    parts = _split(field, text)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidInput(field, "write a URL that begins with http:// or https:// and a host")
    # The error does not repeat the text, which may contain a credential.
    if "@" in parts.netloc:
        raise InvalidInput(field, "a credential does not belong into a URL: name it in api_key")
    if "?" in text or "#" in text:
        raise InvalidInput(field, "a base URL ends before any ? or #: leave out query and fragment")
    hostname = _check_host(field, parts.hostname)
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise InvalidInput(field, f"{path[:80]!r} is not a plain path: leave out dot segments and escapes")
    port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    return BaseUrl(Origin(parts.scheme == "https", hostname, port), path)


def _split(field: str, text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(field, "not a URL: write it like http://127.0.0.1:8081/v1") from error
    if port == 0 or parts.netloc.endswith(":"):
        raise InvalidInput(field, "write a port from 1 to 65535, or none")
    return parts


def _check_host(field: str, hostname: str) -> str:
    bare = hostname.removesuffix(".")
    address = _literal(bare)
    if address is not None:
        if is_metadata_address(address):
            raise InvalidInput(field, NEVER_A_PROVIDER)
        if str(address) != bare and isinstance(address, ipaddress.IPv4Address):
            raise InvalidInput(field, f"write the address as {address}")
        return str(address)
    if is_metadata_name(bare):
        raise InvalidInput(field, NEVER_A_PROVIDER)
    if "%" in bare or ":" in bare or _NUMERIC_LABEL.fullmatch(bare.rpartition(".")[2]):
        raise InvalidInput(field, f"{bare[:80]!r} is not an address")
    if len(bare) > _MAX_HOSTNAME_CHARS or not _HOSTNAME.fullmatch(bare):
        raise InvalidInput(field, f"{bare[:80]!r} is not the name of a host")
    return bare


def _literal(host: str) -> IpAddress | None:
    if _NUMERIC_HOST.fullmatch(host):
        return _loose_ipv4(host)
    try:
        return ipaddress.IPv6Address(host)
    except ValueError:
        return None


def _loose_ipv4(host: str) -> ipaddress.IPv4Address | None:
    """Reads an address as `inet_aton` does: the last part fills the remaining bytes, so 127.1 is 127.0.0.1."""
    *leading, last = [_loose_number(part) for part in host.split(".")]
    if any(part > 0xFF for part in leading) or last >= 1 << 8 * (4 - len(leading)):
        return None
    value = sum(part << 8 * (3 - at) for at, part in enumerate(leading))
    return ipaddress.IPv4Address(value + last)


def _loose_number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    if part.startswith("0") and all(digit in "01234567" for digit in part):
        return int(part, 8)
    return int(part[:20])
