"""Ends reservations, and finds those that no record can end any longer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.kernel.settlement import UNBOUNDED
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.counters.crossing import Crossing
from services.quota.domain.counters.doubt import estimating
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import UNKNOWN_COST, Settlement
from services.quota.ports.counters import CrossingLog, OpenReservations, Reservations
from services.quota.ports.recent_calls import KeyRates
from services.quota.usecases.live import Live
from services.quota.usecases.recent_calls import RecentCalls

MAX_BATCH = 1_000
MAX_CROSSINGS = 1_000


@dataclass(frozen=True, slots=True)
class SettleResult:
    """The result of a batch of settlements."""

    settled: tuple[str, ...]
    already_ended: tuple[str, ...]
    crossings: tuple[Crossing, ...]


class Settle:
    """Settles reservations with what their calls took."""

    def __init__(
        self,
        *,
        live: Live,
        reservations: Reservations,
        crossings: CrossingLog,
        recent: RecentCalls,
        rates: KeyRates,
        clock: Clock,
    ) -> None:
        self._live = live
        self._reservations = reservations
        self._crossings = crossings
        self._recent = recent
        self._rates = rates
        self._clock = clock

    def __call__(self, settlements: Sequence[Settlement], crossings_after: int) -> SettleResult:
        """Settles a batch, and returns the crossings after a sequence number.

        Raises:
            InvalidInput: there are more than 1000 settlements, or an amount is negative.
            Unavailable: the store cannot be written. Repeat the batch: what was settled stays settled.
        """
        check_batch(settlements)
        now_ms = self._clock.now_ms()
        directory = self._live.snapshot.directory
        estimated_in = estimating(directory.directory.policies)
        if estimated_in:
            settlements = [replace(settlement, estimated_in=estimated_in) for settlement in settlements]
        done = self._reservations.settle(settlements, lambda counter: directory.threshold_rule(counter, now_ms), now_ms)
        # If a reservation occurs twice, the first settlement counts, as in the store.
        taken = {settlement.reservation: settlement for settlement in reversed(settlements)}
        self._recent.lag.record(now_ms - taken[reservation.id].end_at_ms for reservation in done.settled)
        self._recent.expectations.learn(
            [
                _sample(reservation, taken[reservation.id])
                for reservation in done.settled
                if taken[reservation.id].reported
            ]
        )
        self._rates.add(
            [
                (reservation.attribution.key_id, cost_nano_usd, taken[reservation.id].end_at_ms)
                for reservation in done.settled
                if (cost_nano_usd := taken[reservation.id].cost_nano_usd) > 0
            ]
        )
        return SettleResult(
            settled=tuple(reservation.id for reservation in done.settled),
            already_ended=done.already_ended,
            crossings=tuple(self._crossings.crossings_after(crossings_after, MAX_CROSSINGS)),
        )


class Release:
    """Releases reservations: ends them without a charge."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    def by_id(self, reservation: str) -> bool:
        """Releases the reservation of a cancelled Check. Returns whether it was open."""
        return self._reservations.release(reservation_ids=[reservation]) > 0

    def __call__(self, *, reservations: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Releases requests that never left the gateway and calls already settled. Returns how many were open.

        Raises:
            InvalidInput: there are more than 1000 of either kind of id.
        """
        for field, names in (("reservations", reservations), ("request_ids", request_ids)):
            if len(names) > MAX_BATCH:
                raise InvalidInput(field, f"at most {MAX_BATCH} at a time")
        return self._reservations.release(reservation_ids=reservations, request_ids=request_ids)


class ListOverdue:
    """Lists reservations for which no record can come any longer."""

    def __init__(self, reservations: OpenReservations, *, max_stream_ms: int) -> None:
        self._reservations = reservations
        self._max_stream_ms = max_stream_ms

    def __call__(
        self, ended_epochs: Collection[str], booked_through_ms: int, page_size: int
    ) -> tuple[Reservation, ...]:
        """Reservations of Envoy runs that have ended and are booked, or older than a call can live; oldest first.

        `booked_through_ms`: the ledger has booked every spool line written before this moment.
        """
        created_before_ms = booked_through_ms - self._max_stream_ms
        return tuple(self._reservations.overdue(ended_epochs, created_before_ms, page_size))


class ListOpen:
    """Lists open reservations, for the ledger to compare with the calls that it settled."""

    def __init__(self, reservations: OpenReservations) -> None:
        self._reservations = reservations

    def __call__(self, after: str, page_size: int) -> tuple[str, ...]:
        """The ids of the open reservations after a given one, oldest first."""
        return tuple(self._reservations.open_after(after, page_size))


def _sample(reservation: Reservation, settlement: Settlement) -> UsageSample:
    cap = reservation.output_cap_tokens
    return UsageSample(
        reservation.attribution.key_id,
        reservation.model,
        Tokens(settlement.input_tokens, settlement.output_tokens),
        cut=0 < cap <= settlement.output_tokens,
        text_bytes=reservation.text_bytes,
        answer_text_bytes=settlement.answer_text_bytes,
    )


def check_batch(settlements: Sequence[Settlement]) -> None:
    """Checks a batch of settlements.

    Raises:
        InvalidInput: the batch is too large, or an amount is negative.
    """
    if len(settlements) > MAX_BATCH:
        raise InvalidInput("settlements", f"at most {MAX_BATCH} at a time")
    for at, settlement in enumerate(settlements):
        if settlement.cost_nano_usd < UNKNOWN_COST:
            raise InvalidInput(f"settlements[{at}].cost_nano_usd", "must be 0 or more, or -1 if the price is unknown")
        if min(settlement.input_tokens, settlement.output_tokens) < 0:
            raise InvalidInput(f"settlements[{at}]", "token counts must not be negative")
        if settlement.most is not None and min(settlement.most) < UNBOUNDED:
            raise InvalidInput(f"settlements[{at}].most", "must be 0 or more, or -1 if nothing bounds it")
