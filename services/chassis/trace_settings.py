"""Settings of traces, which quota and the ledger must read the same way."""

from __future__ import annotations

from typing import NamedTuple

from services.chassis.settings import Environ, SettingsError
from services.kernel.trace_context import ALWAYS, NEVER, Sampling, read_sampling

_RECEIVER = "SPENDGATE_OTLP_ENDPOINT"
_SAMPLING = "SPENDGATE_TRACE_SAMPLING"


class TraceSettings(NamedTuple):
    """Where spans go, and which traces are recorded."""

    receiver: str | None = None
    """HOST:PORT of an OTLP/gRPC receiver. None: nothing is recorded."""
    sampling: Sampling = NEVER


def read_trace_settings(environ: Environ) -> TraceSettings:
    """Reads the environment.

    Raises:
        SettingsError: a variable is unreadable. The text names it.
    """
    receiver = environ.optional(_RECEIVER)
    if receiver is not None:
        environ.address(_RECEIVER)
    text = environ.optional(_SAMPLING)
    sampling = ALWAYS if text is None else read_sampling(text)
    if sampling is None:
        raise SettingsError(f"{_SAMPLING}={text!r}: write always, client, or a share from 1% to 99%")
    return TraceSettings(receiver, sampling if receiver else NEVER)
