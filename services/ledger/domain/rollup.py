"""Rollups: sums by the hour (UTC), written in the same transaction as the entries they sum."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from services.ledger.domain.entry import Entry

HOUR_MS = 3_600_000


class RollupKey(NamedTuple):
    """The calls that a row of sums covers."""

    hour_ms: int
    """Start of the hour in which the calls began."""
    team: str
    project: str
    environment: str
    user: str
    key: str
    model_requested: str
    model_served: str
    status: str
    """Status class: "2xx"; "none" when the client got no status."""
    operation: str
    """As `BookedCall.operation`."""


@dataclass(slots=True)
class Sums:
    """The sums of one rollup row."""

    calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    """Only calls whose price is known."""
    unpriced_calls: int = 0
    retries: int = 0
    """Calls that repeat an earlier call. The others are logical requests."""


def status_class(status: int) -> str:
    """Returns the class of a status: "2xx" for 200, "none" for 0."""
    return f"{status // 100}xx" if status else "none"


def rollup_key(entry: Entry) -> RollupKey:
    """Returns the key of the row that an entry adds to."""
    call = entry.call
    caller = call.caller
    return RollupKey(
        call.time_ms - call.time_ms % HOUR_MS,
        caller.team,
        caller.project,
        caller.environment,
        caller.user,
        caller.key,
        call.model_requested,
        entry.charge.target,
        status_class(call.status),
        call.operation,
    )


def roll_up(entries: Iterable[Entry], retries: Collection[str] = ()) -> dict[RollupKey, Sums]:
    """Sums `entries`. An entry whose id is in `retries` counts as a repeat of an earlier call."""
    rolled: dict[RollupKey, Sums] = {}
    for entry in entries:
        sums = rolled.setdefault(rollup_key(entry), Sums())
        usage, cost = entry.charge.usage, entry.charge.cost_nano_usd
        sums.calls += 1
        sums.input_tokens += usage.input_tokens
        sums.cached_input_tokens += usage.cached_input_tokens
        sums.output_tokens += usage.output_tokens
        sums.cost_nano_usd += cost or 0
        sums.unpriced_calls += cost is None
        sums.retries += entry.id in retries
    return rolled
