"""Reservations, the counters that they hold room in, and what ends them.

A counter is one limit, in one window, for one scope. `settled` is what finished calls took, `reserved` what calls in
flight hold. A reservation adds to `reserved` of all its counters at once and ends exactly once: settled, which moves
its hold to `settled` at the actual amount, or released, which only takes it away. A call whose end nobody measured is
settled at an estimate, and the rest of the most that it can have taken moves to `doubt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.quota.domain.key import Attribution
from services.quota.domain.policy import MAX_COUNT, LimitKind, Threshold, is_soft, kind_of

UNKNOWN_COST = -1
UNBOUNDED = -1


class CounterKey(NamedTuple):
    """Names a counter. The window's start is part of the name, so that no job ever has to reset anything."""

    policy: str
    limit_id: str
    scope: str
    window_start_ms: int


class Level(NamedTuple):
    """What a counter says. A counter that nobody used yet says that all of it is 0."""

    settled: int
    reserved: int
    doubt: int = 0
    """What settled calls may have taken beyond what is settled of them. No call in flight gives it back."""


class Hold(NamedTuple):
    """The room that a reservation holds in one counter."""

    counter: CounterKey
    window_end_ms: int
    held: int
    ceiling: int | None = None
    """What settled, reserved and this hold may come to: the bound under which it was chosen. None: nothing bounds it.

    Matters while the reservation is made, to a store in which others may have moved the counter since it was read.
    """
    trailing: tuple[CounterKey, ...] = ()
    """Counters that add to this one under the ceiling, in a window that rolls. Matter as long as the ceiling does."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A call that was admitted and has not ended."""

    id: str
    """Sorts by time. Also the id of the ledger's entry."""
    request_id: str
    """Envoy's, so that a call of which only Envoy knows can be released."""
    epoch: str
    """The run of Envoy that carries the call."""
    created_at_ms: int
    attribution: Attribution
    model: str
    """As the client asked."""
    chain: tuple[str, ...]
    """ "provider/model" of each attempt that is allowed, in order."""
    dialect: str
    expected_input_tokens: int
    """What is booked when nobody ever says what the call took."""
    expected_output_tokens: int
    holds: tuple[Hold, ...]
    output_cap_tokens: int = 0
    """Output of all choices to which the limits cut the call; 0: they did not."""
    text_bytes: int = 0
    """Of the request, all of whose input is text; 0: not all of it is."""
    run: str = ""
    """What the client names the run that the call belongs to, empty when it names none."""
    most: Most | None = None
    """The most that the call can take, whatever it holds now: limits may begin to concern it. None: nobody noted it."""
    unknown_members: bool = False
    """The request has members, or values of headers, that nobody here knows."""
    policies: str = field(default="", compare=False)
    """Version of the policies that it was decided by, empty when none decided. Matters while it is made."""


@dataclass(frozen=True, slots=True)
class Most:
    """The most that a call can take.

    Of a call whose end nobody measured it is the most that it can have taken. `UNBOUNDED`: nothing bounds it but its
    hold.
    """

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int

    def of(self, kind: LimitKind) -> int | None:
        """The most that a limit of this kind can count of the call; None: nothing bounds it."""
        parts: tuple[int, ...]
        match kind:
            case LimitKind.SPEND:
                parts = (self.cost_nano_usd,)
            case LimitKind.INPUT_TOKENS:
                parts = (self.input_tokens,)
            case LimitKind.OUTPUT_TOKENS:
                parts = (self.output_tokens,)
            case _:
                parts = (self.input_tokens, self.output_tokens)
        return None if UNBOUNDED in parts else sum(parts)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one call took."""

    reservation: str
    cost_nano_usd: int
    """-1 when the price is unknown; what is held then counts."""
    input_tokens: int
    """Cached ones included."""
    output_tokens: int
    """Reasoning included."""
    end_at_ms: int
    reported: bool
    """The tokens are the provider's own count: only such calls teach what to expect."""
    answer_text_bytes: int = 0
    """Bytes of text that were seen of the answer."""
    most: Most | None = None
    """The most that the call can have taken; None: what it took is known."""
    estimated_in: frozenset[str] = frozenset()
    """Names of policies whose limits count its estimate alone, and keep no doubt."""

    def doubt_in(self, counter: CounterKey, held: int) -> int:
        """What a counter holds on to after the call."""
        return 0 if counter.policy in self.estimated_in else self.doubt(counter.limit_id, held)

    def doubt(self, limit_id: str, held: int) -> int:
        """What a limit holds on to after the call: what it can have taken above what is counted, within its hold."""
        if self.most is None or not holds_most(limit_id):
            return 0
        kind = kind_of(limit_id)
        most = self.most.of(kind)
        return max(0, (held if most is None else min(held, most)) - self.actual(kind, held))

    def actual(self, kind: LimitKind, held: int) -> int:
        """What a limit of this kind counts of the call."""
        match kind:
            case LimitKind.SPEND | LimitKind.BURN_RATE:
                return held if self.cost_nano_usd == UNKNOWN_COST else self.cost_nano_usd
            case LimitKind.TOKENS:
                return self.input_tokens + self.output_tokens
            case LimitKind.INPUT_TOKENS:
                return self.input_tokens
            case LimitKind.OUTPUT_TOKENS:
                return self.output_tokens
            case LimitKind.REQUESTS:
                return 1
            case LimitKind.CONCURRENCY | LimitKind.REQUEST_COST:
                return 0


@dataclass(slots=True)
class Move:
    """How settlements move one counter. Those of a batch are added up: each counter is written once."""

    window_end_ms: int
    settled: int = 0
    reserved: int = 0
    doubt: int = 0
    excess: int = 0
    """What calls took above what they held."""
    last: str = ""
    """The last call of them, by the id of its reservation."""
    unpriced: str = ""
    """The first call of them whose cost is unknown, in a limit on spend; empty when there is none."""
    unknown: str = ""
    """The first call of them with members that nobody knows, in a limit on spend; empty when there is none."""


def add_moves(moves: dict[CounterKey, Move], reservation: Reservation, settlement: Settlement) -> None:
    """Adds how one settlement moves the counters of its reservation."""
    for counter, window_end_ms, held, _, _ in reservation.holds:
        move = moves.setdefault(counter, Move(window_end_ms))
        taken = settlement.actual(kind_of(counter.limit_id), held)
        move.settled += taken
        move.last = reservation.id
        move.reserved -= held
        move.doubt += settlement.doubt_in(counter, held)
        move.excess += excess_of(counter, held, taken)
        if not move.unpriced and lacks_price(counter, settlement):
            move.unpriced = reservation.id
        if not move.unknown and holds_unknown(counter, reservation):
            move.unknown = reservation.id


def excess_of(counter: CounterKey, held: int, taken: int) -> int:
    """What a call took above what it held of a counter whose holds are the most that it could take; else 0."""
    return max(0, taken - held) if holds_most(counter.limit_id) else 0


def holds_most(limit_id: str) -> bool:
    """Whether calls hold of a limit the most that they can take, which depends on the call."""
    return kind_of(limit_id).is_of_size and not is_soft(limit_id)


def lacks_price(counter: CounterKey, settlement: Settlement) -> bool:
    """Whether what a call took of a counter is unknown."""
    return settlement.cost_nano_usd == UNKNOWN_COST and kind_of(counter.limit_id).needs_price


def holds_unknown(counter: CounterKey, reservation: Reservation) -> bool:
    """Whether a call holds money for what nobody here knows of its request."""
    return reservation.unknown_members and kind_of(counter.limit_id).needs_price


@dataclass(frozen=True, slots=True)
class Watch:
    """What to look for in a counter while it settles."""

    bound: int
    thresholds: tuple[Threshold, ...]
    limit: str
    """For people: "spend per month"."""
    trailing: tuple[CounterKey, ...] = ()
    """Counters that add to it, in a window that rolls."""
    told_since_ms: int = 0
    """What was told of a window that began then or later was told of this one."""
    enforced: bool = True

    @property
    def everybody(self) -> tuple[str, ...]:
        """Names of all alert channels of the thresholds."""
        return tuple(dict.fromkeys(name for threshold in self.thresholds for name in threshold.notify))


Watching = Callable[[CounterKey], Watch | None]
"""Tells what to look for in a counter; None: nothing."""


class CrossingKind(StrEnum):
    """What happened to a counter."""

    THRESHOLD = "threshold"
    """It passed a threshold."""
    OVERRUN = "overrun"
    """A call took more than it held in an enforced limit: a provider billed more than it was allowed."""
    UNPRICED = "unpriced"
    """A call whose cost is unknown went through an enforced limit on spend."""
    UNKNOWN_MEMBERS = "unknown_members"
    """A call with members that nobody here knows went through an enforced limit on spend."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What somebody is to be told of a counter. A threshold is passed once, of the other kinds the first is told."""

    sequence: int
    """Ascending, never reused."""
    counter: CounterKey
    limit: str
    """ "spend per month" and the like."""
    basis_points: int
    """Of the threshold; 0 for the other kinds."""
    notify: tuple[str, ...]
    crossed_at_ms: int
    settled: int
    bound: int
    kind: CrossingKind = CrossingKind.THRESHOLD
    excess: int = 0
    """By how much an overrun was above what was held, in the unit of the limit."""
    reservation: str = ""
    """Id of the call that brought it about, or of one of several that did. Empty: no call did."""


def check_sums(sums: Iterable[tuple[CounterKey, int, int]]) -> None:
    """Passes sums, each given with its counter and the end of its window, that a store can hold exactly.

    Raises:
        InvalidInput: one is negative or above 2^53.
    """
    for at, (counter, _, settled) in enumerate(sums):
        if not 0 <= settled <= MAX_COUNT:
            raise InvalidInput(f"sums[{at}]", f"{settled} of policy {counter.policy} is not within 0 to {MAX_COUNT}")


def least_reaching(bound: int, basis_points: int) -> int:
    """The smallest amount that is this part of a bound, or more."""
    return -(-bound * basis_points // 10_000)


def newly_passed(settled: int, watch: Watch, highest_told: int) -> tuple[Threshold, ...]:
    """Thresholds that `settled` has reached and that lie above the highest one told of this counter, in basis points.

    It compares with what was told, not with what was settled a moment ago: a limit that is lowered below what is
    already used is told at the next settlement, and a threshold added below what was told is not told late.
    """
    return tuple(
        threshold
        for threshold in watch.thresholds
        if threshold.basis_points > highest_told
        and watch.bound
        and settled >= least_reaching(watch.bound, threshold.basis_points)
    )


@dataclass(frozen=True, slots=True)
class News:
    """What a batch of settlements did to a counter, and what of it was told before."""

    counter: CounterKey
    settled: int
    move: Move
    highest_told: int
    """Basis points of the highest threshold that was told."""
    overrun_told: bool
    unpriced_told: bool
    unknown_told: bool

    def crossings(self, watch: Watch, now_ms: int) -> tuple[Crossing, ...]:
        """What is to be told, with sequence numbers yet to be given."""
        overrun = Crossing(
            sequence=0,
            counter=self.counter,
            limit=watch.limit,
            basis_points=0,
            notify=watch.everybody,
            crossed_at_ms=now_ms,
            settled=self.settled,
            bound=watch.bound,
            kind=CrossingKind.OVERRUN,
            excess=self.move.excess,
            reservation=self.move.last,
        )
        unpriced = replace(overrun, kind=CrossingKind.UNPRICED, excess=0, reservation=self.move.unpriced)
        unknown = replace(unpriced, kind=CrossingKind.UNKNOWN_MEMBERS, reservation=self.move.unknown)
        passed = tuple(
            replace(
                overrun,
                basis_points=threshold.basis_points,
                notify=threshold.notify,
                kind=CrossingKind.THRESHOLD,
                excess=0,
            )
            for threshold in newly_passed(self.settled, watch, self.highest_told)
        )
        overran = self.move.excess > 0 and watch.enforced and not self.overrun_told
        lacked_price = bool(self.move.unpriced) and watch.enforced and not self.unpriced_told
        was_unknown = bool(self.move.unknown) and watch.enforced and not self.unknown_told
        return (*passed, *(overrun,) * overran, *(unpriced,) * lacked_price, *(unknown,) * was_unknown)
