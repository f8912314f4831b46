"""A quota and a ledger in one process, without Envoy and without a wire between them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.kernel.limit_kind import LimitKind
from services.kernel.names import admitted_ms
from services.kernel.price import Price
from services.ledger.adapters.quota_counters import QuotaCountersClient
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlOutbox
from services.ledger.adapters.sql_settled_sums import SqlSettledSums
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry, OverdueReservation
from services.ledger.domain.settlement import Crossing, Settlement
from services.ledger.domain.spooled import Booking
from services.ledger.usecases.reconcile import ASK_INTERVAL_MS, Reconcile
from services.ledger.usecases.settle import Settle
from services.ledger.usecases.sweep import Sweep
from services.quota.adapters.counter_levels import CounterLevels
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.settlement import Settlement as QuotaSettlement
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.applied_limits import Call, apply_limits
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey, digest_of
from services.quota.domain.policies.limit_id import kind_of
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.transport.counter_service import CounterService
from services.quota.usecases.admit import Admitted
from services.quota.usecases.reconcile import Reconcile as HoldCounters
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.quota import ADA, ADAS_KEY, PEPPER, World
from tests.worlds.spool_lines import EPOCH, PRICE, call, open_database

INTERVAL_MS = 60_000


class Wire:
    """A channel to a quota that answers at once."""

    def __init__(self, api: CounterService) -> None:
        self._api = api

    def unary_unary(self, path: str, *_codecs: object, **_options: object) -> Callable[..., Any]:
        return lambda request, **_options: getattr(self._api, path.rpartition("/")[2])(request, None)

    unary_stream = stream_unary = unary_unary


class DirectQuota:
    """`ports.Quota` and `ports.OpenReservations` of the ledger over the use cases of quota."""

    def __init__(self, world: World) -> None:
        self._world = world

    def settle(self, settlements: Sequence[Settlement], crossings_after: int) -> tuple[set[str], list[Crossing]]:
        sent = [
            QuotaSettlement(
                each.reservation,
                -1 if each.cost_nano_usd is None else each.cost_nano_usd,
                each.input_tokens,
                each.output_tokens,
                each.end_ms,
                each.reported,
            )
            for each in settlements
        ]
        # Whatever is sent may be sent again, and arrive in another order.
        done = self._world.settle_all([*sent[::-1], *sent], crossings_after)
        return {*done.settled, *done.already_ended}, []

    def release(self, request_ids: Sequence[str]) -> None:
        self._world.release(request_ids=request_ids)

    def open_after(self, reservation: str, limit: int) -> list[str]:
        return list(self._world.list_open(reservation, limit))

    def release_reservations(self, reservations: Sequence[str]) -> int:
        return self._world.release(reservations=reservations)

    def overdue(
        self, ended_epochs: Sequence[str], booked_through_ms: int | None, limit: int
    ) -> list[OverdueReservation]:
        del ended_epochs, booked_through_ms, limit
        return []


def price_of(target: str, _time_ms: int) -> Price | None:
    """Only lab/unpriced has none."""
    return None if target == "lab/unpriced" else PRICE


class Books:
    """Calls that are admitted, booked, settled and compared."""

    def __init__(self, policies: tuple[QuotaPolicy, ...], keys: tuple[VirtualKey, ...] = (ADAS_KEY,)) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.database = open_database(Path(self._folder.name))
        self.counted = CounterLevels()
        self.world = World(policies, counters=MemoryCounters(self.counted))
        self.keys = keys
        self.clock = self.world.clock
        self.store, self.outbox = SqlEntries(self.database), SqlOutbox(self.database)
        self.entries: list[Entry] = []
        counters = self.world.counters
        self.hold = HoldCounters(
            live=self.world.live,
            counters=counters,
            adjustments=counters,
            crossings=counters,
            recovery=counters,
            clock=self.clock,
        )
        quota = DirectQuota(self.world)
        self.sweep = Sweep(outbox=self.outbox, held=quota)
        self.settling = Settle(outbox=self.outbox, quota=quota, clock=self.clock)
        self.start_ledger()
        self.apply(policies)

    def start_ledger(self) -> None:
        """A ledger that has just started, over the same database."""
        wire: Any = Wire(CounterService(self.hold))
        self.reconcile = Reconcile(
            counters=QuotaCountersClient(wire),
            sums=SqlSettledSums(self.database),
            outbox=self.outbox,
            sweep=self.sweep,
            clock=self.clock,
            interval_ms=INTERVAL_MS,
        )

    def close(self) -> None:
        """Leaves nothing behind."""
        self._folder.cleanup()

    def apply(self, policies: tuple[QuotaPolicy, ...]) -> None:
        """Puts other policies in force."""
        self.world.change_policies(policies, self.keys)

    def book(self, admitted: Admitted, *, run: str = "", served: str = "lab/dear", output_tokens: int = 100) -> None:
        """Books the end of a call; booking it again changes nothing."""
        reservation = admitted.reservation
        who = reservation.attribution
        fields: dict[str, Any] = {
            "id": reservation.request_id,
            "reservation": reservation.id,
            "key_id": who.key_id,
            "key": who.key,
            "team": who.team,
            "project": who.project,
            "environment": who.environment,
            "user": who.user,
            "model": reservation.model,
            "chain": served,
            "run": run or None,
            "output_tokens": str(output_tokens),
        }
        parsed = call(**fields)
        entry = Entry(parsed, charge_call(parsed, (), price_of), EPOCH, self.clock.now_ms())
        self.entries += self.store.book(Booking((entry,)))

    def put_back(self, admitted: Admitted) -> None:
        """Holds a call's room again, like a quota whose store lost it."""
        made = Adoption.of(self.world.live.snapshot.directory).reheld(admitted.reservation)
        if made.id not in self.open_reservations():
            self.world.counters.reserve([], lambda _: (made, None))

    def open_reservations(self) -> set[str]:
        """Ids of all that is held."""
        return set(self.world.counters.open_after("", self.world.counters.open_count()))

    def check(self) -> None:
        """Settles what is booked, and compares after the interval."""
        self.clock.advance(max(INTERVAL_MS, ASK_INTERVAL_MS))
        self.reconcile.rebuild_if_lost()
        self.settling.settle()
        self.reconcile.check_if_due()

    def told_by_the_ledger(self) -> dict[CounterKey, tuple[int, bool]]:
        """The value that each counter of a current window must have, entry by entry, and whether all of it is known."""
        told: dict[CounterKey, tuple[int, bool]] = {}
        for entry in self.entries:
            at_ms = admitted_ms(entry.id)
            assert at_ms is not None
            for counter, kind in self._counters_of(entry, at_ms):
                amount, known = told.get(counter, (0, True))
                taken = _taken(entry, kind)
                told[counter] = amount + (taken or 0), known and taken is not None
        return told

    def levels(self) -> dict[CounterKey, int]:
        """The settled amount of each counter of a current window."""
        return {key: level.settled for key, _, level in self.world.counters.counters_at(self.clock.now_ms())}

    def _counters_of(self, entry: Entry, at_ms: int) -> Iterator[tuple[CounterKey, LimitKind]]:
        who = entry.call.caller
        attribution = Attribution(who.key_id, who.key, who.team, who.project, who.environment, who.user)
        found = apply_limits(self.world.policies, Call(attribution, entry.call.model_requested, entry.call.run), at_ms)
        for limit in found.limits:
            if limit.retain_until_ms > self.clock.now_ms() and limit.kind.has_window:
                yield limit.counter, kind_of(limit.counter.limit_id)


def _taken(entry: Entry, kind: LimitKind) -> int | None:
    usage, cost = entry.charge.usage, entry.charge.cost_nano_usd
    settled = QuotaSettlement(entry.id, cost or 0, usage.input_tokens, usage.output_tokens, 0, True)
    return None if kind is LimitKind.SPEND and cost is None else settled.actual(kind, 0)


def key_of(name: str, **changed: str) -> VirtualKey:
    """A key with this name; its secret is its name, too."""
    return VirtualKey(replace(ADA, key_id=f"key_{name}", key=name, **changed), digest=digest_of(name, PEPPER))
