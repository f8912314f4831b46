"""Watches what the names of providers resolve to, since a name may lead to a metadata service like an address does.

Envoy resolves names by itself, so this looks again and again. A provider whose name leads to a metadata service is
refused when it is applied, and takes no calls from the moment at which its name is seen to do so.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from services.kernel.errors import InvalidInput
from services.router.domain.address import parse_base_url
from services.router.domain.metadata_address import IpAddress, is_metadata_address
from services.router.domain.provider import Provider

Resolve = Callable[[str], Iterable[IpAddress]]
"""Returns the addresses of a name. Raises OSError if it has none at the moment."""
Findings = Mapping[str, str]
"""By name that resolves: the address of a metadata service to which it leads, or nothing."""

_PARALLEL = 8

_log = logging.getLogger("spendgate.router.names")


class NameWatch:
    """What is known of the names. `take` and the questions belong on one thread; `look` may run on any."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._findings: dict[str, str] = {}

    def look(self, names: Iterable[str]) -> Findings:
        """Resolves names, which may take seconds. Leaves out those that do not resolve."""
        asked = sorted(set(names))
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="resolving") as pool:
            found = pool.map(self._find, asked)
            return {name: address for name, address in zip(asked, found, strict=True) if address is not None}

    def take(self, findings: Findings) -> bool:
        """Notes findings and returns whether a verdict changed. A name that does not resolve keeps its last one."""
        changed = {name for name, address in findings.items() if self._findings.get(name, "") != address}
        for name in sorted(changed):
            _log.warning("%s", _sentence(name, findings[name]) or f"{name} leads to no metadata service any more")
        self._findings |= findings
        return bool(changed)

    def problem_of(self, provider: Provider) -> str:
        """Returns why a checked provider may not be called. Empty when it may."""
        for name in names_of_servers([provider]):
            if address := self._findings.get(name):
                return _sentence(name, address)
        return ""

    def _find(self, name: str) -> str | None:
        try:
            addresses = list(self._resolve(name))
        except OSError:
            return None
        return next((str(address) for address in addresses if is_metadata_address(address)), "")


def names_of_servers(providers: Iterable[Provider]) -> frozenset[str]:
    """Returns the names to resolve. A provider that cannot be reached as it is written, or by an address, has none."""
    names: set[str] = set()
    for provider in providers:
        preset_url = provider.preset.base_url if provider.preset is not None else ""
        with contextlib.suppress(InvalidInput):
            names.add(parse_base_url("base_url", provider.base_url or preset_url).origin.hostname)
    return frozenset(name for name in names if not _is_address(name))


def _sentence(name: str, address: str) -> str:
    return f"{name} resolves to {address}, a metadata service: no call goes there" if address else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
