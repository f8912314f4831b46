"""The record of a reservation in stores. Its id, request and run of Envoy are stored next to the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from services.kernel.dialect import Dialect
from services.kernel.scope import run_of
from services.kernel.settlement import Most
from services.kernel.window import WindowUnit
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.identity.attribution import Attribution


def write_record(reservation: Reservation) -> bytes:
    """Writes all fields except those for lookup, and those that matter only when reserving."""
    who = reservation.attribution
    record: dict[str, Any] = {
        "created_at_ms": reservation.created_at_ms,
        "attribution": (who.key_id, who.key, who.team, who.project, who.environment, who.user),
        "model": reservation.model,
        "chain": reservation.chain,
        "dialect": reservation.dialect,
        "expected": (reservation.expected_input_tokens, reservation.expected_output_tokens),
        "holds": [(*hold.counter, hold.window_end_ms, hold.held) for hold in reservation.holds],
    }
    if reservation.output_cap_tokens:
        record["output_cap"] = reservation.output_cap_tokens
    if reservation.text_bytes:
        record["text_bytes"] = reservation.text_bytes
    if reservation.run:
        record["run"] = reservation.run
    if reservation.unknown_members:
        record["unknown_members"] = True
    if reservation.most is not None:
        most = reservation.most
        record["most"] = (most.cost_nano_usd, most.input_tokens, most.output_tokens)
    return orjson.dumps(record)


def read_reservation(name: str, request_id: str, epoch: str, record: dict[str, Any]) -> Reservation:
    """Reads a reservation from a parsed record."""
    expected_input, expected_output = record["expected"]
    holds = tuple(Hold(CounterKey(*hold[:4]), hold[4], hold[5]) for hold in record["holds"])
    return Reservation(
        id=name,
        request_id=request_id,
        epoch=epoch,
        created_at_ms=record["created_at_ms"],
        attribution=Attribution(*record["attribution"]),
        model=record["model"],
        chain=tuple(record["chain"]),
        dialect=Dialect(record["dialect"]),
        expected_input_tokens=expected_input,
        expected_output_tokens=expected_output,
        holds=holds,
        output_cap_tokens=record.get("output_cap", 0),
        text_bytes=record.get("text_bytes", 0),
        run=record["run"] if "run" in record else _run_in(holds),
        most=Most(*record["most"]) if "most" in record else None,
        unknown_members=record.get("unknown_members", False),
    )


def _run_in(holds: Sequence[Hold]) -> str:
    """The run under which a limit counts the call. An earlier release recorded no other run."""
    runs = (run_of(hold.counter.scope) for hold in holds if hold.counter.limit_id.endswith(f"/{WindowUnit.RUN}"))
    return next(runs, "")
