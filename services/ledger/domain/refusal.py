"""Parsed lines of the log of refusals: requests without a reservation. Nothing books them; they only have spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from services.kernel.envoy_contract import AdmissionKey
from services.kernel.spool_contract import SpoolKey
from services.ledger.domain.line_fields import LineReader, read_time_us, require


class Refusal(NamedTuple):
    """One request that was refused, or that quota answered itself."""

    request_id: Annotated[str, SpoolKey.REQUEST_ID]
    time_us: int
    status: Annotated[int, SpoolKey.STATUS]
    duration_ms: Annotated[int, SpoolKey.DURATION_MS]
    duration_us: Annotated[int, SpoolKey.DURATION_US]
    """0 when unknown."""
    method: Annotated[str, SpoolKey.METHOD]
    path: Annotated[str, SpoolKey.PATH]
    """Without its query, and without what may be a key."""
    traceparent: Annotated[str, AdmissionKey.TRACEPARENT]
    """As quota found it. Where quota was not asked, the client's own header."""
    decided: Annotated[str, AdmissionKey.DECIDED]
    """For the decision's span: JSON with `DecidedKey`. Empty if quota did not refuse it."""


_REFUSAL = LineReader(Refusal)


def parse_refusal(fields: Mapping[str, object]) -> Refusal:
    """Parses the fields of one line.

    Raises:
        UnreadableLineError: a field is missing, of a wrong type or out of range.
    """
    refusal = Refusal(**_REFUSAL.read(fields), time_us=read_time_us(fields))
    require(refusal.request_id, SpoolKey.REQUEST_ID)
    return refusal
