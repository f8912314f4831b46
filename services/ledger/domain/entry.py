"""Entries: booked calls, one for each reservation that a request used up."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.names import admitted_ms
from services.kernel.usage import Usage, UsageSource
from services.ledger.domain.call import Caller, SpooledAttempt, SpooledCall
from services.ledger.domain.charge import Charge


@dataclass(frozen=True, slots=True)
class Entry:
    """One booked call. Its id is its reservation's id, so a line that is read twice is booked once."""

    call: SpooledCall
    charge: Charge
    epoch: str
    """The run of Envoy that carried the call."""
    booked_ms: int

    @property
    def id(self) -> str:
        """Id of the reservation."""
        return self.call.reservation

    @property
    def admitted_ms(self) -> int:
        """When quota admitted the call. This decides the windows it counts in."""
        admitted = admitted_ms(self.id)
        return self.call.time_ms if admitted is None else admitted

    @property
    def end_ms(self) -> int:
        """When the last byte was sent."""
        return self.call.time_ms + self.call.duration_ms


@dataclass(frozen=True, slots=True)
class OverdueReservation:
    """A reservation that can no longer get a record, as quota reports it."""

    reservation: str
    request_id: str
    caller: Caller
    model_requested: str
    chain: tuple[str, ...]
    expected: Usage
    created_ms: int
    dialect: str
    epoch: str
    run: str
    """The client's run that a limit counts the call under. Empty when no limit does."""

    def as_call(self, attempts_known: int) -> SpooledCall:
        """Returns the unrecorded call, assumed to have gone out and got no answer.

        `attempts_known` is the number of the last recorded attempt, 0 for none.
        """
        return SpooledCall(
            request_id=self.request_id,
            reservation=self.reservation,
            time_ms=self.created_ms,
            caller=self.caller,
            expected=self.expected,
            model_requested=self.model_requested,
            chain=self.chain,
            details="no_record",
            attempts=max(attempts_known, 1),
            dialect=self.dialect,
            run=self.run,
        )


@dataclass(frozen=True, slots=True)
class BookedCall:
    """An entry with its attempts, read back from the database."""

    sequence: int
    """Order of booking, ascending."""
    id: str
    request_id: str
    time_ms: int
    caller: Caller
    model_requested: str
    model_served: str
    status: int
    outcome: str
    """An `Outcome`. Empty when an earlier release booked the call."""
    usage_source: UsageSource
    usage: Usage
    cost_nano_usd: int | None
    trace_id: str
    duration_ms: int
    first_byte_ms: int
    decision: str
    dialect: str
    operation: str
    """A `services.kernel.endpoint.Operation`. Empty if nobody recorded it: an earlier release booked the call, or Envoy
    left no line of it."""
    stream: bool
    tags: str
    run: str
    retry_of: str
    """Id of the first call of the same logical request. Empty when this is the first."""
    retry_count: int
    """How often the client's SDK had sent the request before, by its own account."""
    retries: int
    """How many later calls repeat this one."""
    unknown_members: tuple[str, ...]
    """Unknown members and header values of the request."""
    price_options: tuple[str, ...]
    """Requested options that change the price."""
    downgraded: str
    """Why another target led than the model's first: a `LeadReason`. Empty when that one led, or an earlier release
    booked the call."""
    left_out: tuple[str, ...]
    """Targets that could not carry the call, each as `provider/model=tools+images`."""
    attempts: tuple[BookedAttempt, ...]


@dataclass(frozen=True, slots=True)
class BookedAttempt:
    """An attempt, read back from the database."""

    target: str
    status: int
    latency_ms: int
    cost_nano_usd: int | None
    failure: str


def join_attempts(
    *,
    attempts: list[SpooledAttempt],
    made: int,
    chain: list[str],
    cost_nano_usd: int | None,
    unanswered_costs: dict[int, int | None],
) -> tuple[BookedAttempt, ...]:
    """Gives each recorded attempt its target and its share of the call's cost.

    The last of the `made` attempts carries what remains after the unanswered ones before it. The others cost nothing.
    """
    known = [cost for cost in unanswered_costs.values() if cost is not None]
    whole = cost_nano_usd is not None and len(known) == len(unanswered_costs)
    of_last = cost_nano_usd - sum(known) if cost_nano_usd is not None and whole else None
    return tuple(
        BookedAttempt(
            target=chain[attempt.attempt - 1] if attempt.attempt <= len(chain) else "",
            status=attempt.status,
            latency_ms=attempt.duration_ms,
            cost_nano_usd=of_last if attempt.attempt == made else unanswered_costs.get(attempt.attempt, 0),
            failure=attempt.failure_kind,
        )
        for attempt in sorted(attempts, key=lambda each: each.attempt)
    )
