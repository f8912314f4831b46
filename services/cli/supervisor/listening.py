"""Listen addresses: who can reach them, and whether they are free."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass, replace

from services.chassis.settings import SettingsError, parse_address
from services.cli.problems import Refused

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (recognised, not bound)


class ListenError(Refused):
    """An address that cannot or may not be used. The text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on."""

    option: str
    """Its name in errors, for example "--listen"."""
    host: str
    """As given."""
    ip: str
    port: int
    """0: any free port, chosen by `reserve`."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.ip).is_loopback

    @property
    def authority(self) -> str:
        """HOST:PORT as given."""
        return _authority(self.host, self.port)

    @property
    def bound(self) -> str:
        """IP:PORT, in the form for the services."""
        return _authority(self.ip, self.port)

    @property
    def reachable(self) -> str:
        """IP:PORT at which this machine itself reaches it."""
        return _authority(_ANY.get(self.ip, self.ip), self.port)


def parse_listen(option: str, text: str) -> Listen:
    """Reads HOST:PORT.

    Raises:
        ListenError: it has another form, or the host is unknown.
    """
    try:
        host, port = parse_address(option, text)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (SettingsError, UnicodeError) as error:
        raise ListenError(str(error)) from error
    except OSError as error:
        raise ListenError(f"{option} {text}: there is no host of this name here ({error.strerror})") from error
    del family
    return Listen(option, host, str(address[0]), port)


def reserve(listen: Listen) -> Listen:
    """Checks that the address is free now, and chooses a port if none is given.

    Raises:
        ListenError: it is taken or cannot be bound.
    """
    family = socket.AF_INET6 if ":" in listen.ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As Envoy binds: lingering connections of a previous run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen.ip, listen.port))
            return replace(listen, port=probe.getsockname()[1])
        except OSError as error:
            raise ListenError(f"{listen.option} {listen.authority}: {_bind_problem(error)}") from error


def check_exposure(listen: Listen, *, encrypted: bool, insecure: bool) -> None:
    """Keys travel over this address. In plain text they must stay on this machine, unless the user insists.

    Raises:
        ListenError: other machines can reach it, and it is neither encrypted nor explicitly insecure.
    """
    if not (listen.is_loopback or encrypted or insecure):
        raise ListenError(
            f"{listen.option} {listen.authority} is reachable from other machines, and keys would travel in plain "
            "text: give --tls-certificate and --tls-private-key, or --insecure behind something that encrypts"
        )


def _bind_problem(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken: stop what listens there, or choose another port"
    if error.errno == errno.EACCES:
        return "this user may not bind the port: choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return os.strerror(error.errno or 0)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
