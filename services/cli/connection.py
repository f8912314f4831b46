"""The connection of a command to the gateway that its options name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer

from services.cli.gateway import Gateway, explained
from services.cli.gateway_address import find_gateway
from services.cli.session import gateway_options, session_of


@contextlib.contextmanager
def connect(context: typer.Context) -> Iterator[Gateway]:
    """Connects to the gateway of a `GatewayCommand`. Its errors are reported as sentences.

    Raises:
        CommandError: there is no token or no gateway, or the gateway refuses.
    """
    options = gateway_options(context)
    address = find_gateway(options.admin, options.data_dir, session_of(context).environ, options.certificate)
    with explained(address), Gateway(address) as gateway:
        yield gateway
