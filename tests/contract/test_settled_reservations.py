"""Reservations that are open although the ledger has settled their calls: with a real quota, and with real counters."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.ledger.adapters.quota_client import QuotaClient
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlOutbox
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from services.ledger.domain.spooled import Booking
from services.ledger.usecases.sweep import Sweep
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.ports import Sum
from tests.contract.counter_store_load import ENDS_MS, HELD, NOW_MS, SPEND, bounded, settlement_of
from tests.contract.counter_store_notes import MemorySnapshots
from tests.contract.quota_process import MODEL, QuotaProcess, configuration, planned_target, route_plan, spend_policy
from tests.contract.quota_process import call as ask
from tests.redis_process import RedisProcess
from tests.unit.ledger.lines import EPOCH, call, open_database, price_of


@pytest.fixture
def outbox(tmp_path: Path) -> SqlOutbox:
    return SqlOutbox(open_database(tmp_path))


def book(tmp_path: Path, *reservations: str) -> None:
    calls = [call(number, reservation=name) for number, name in enumerate(reservations)]
    entries = [Entry(each, charge_call(each, (), price_of), EPOCH, NOW_MS) for each in calls]
    SqlEntries(open_database(tmp_path)).book(Booking(tuple(entries)))


def test_a_real_quota_gives_back_the_room_of_settled_calls_and_of_no_others(tmp_path: Path, outbox: SqlOutbox) -> None:
    with QuotaProcess() as quota:
        quota.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        quota.quota.ApplyConfiguration(configuration(spend_policy("ds", 3)))
        told = [quota.check(ask(request_id=f"req-{number}")).dynamic_metadata for number in range(3)]
        settled, booked, running = (str(each.fields["reservation"].string_value) for each in told)
        book(tmp_path, settled, booked)
        outbox.mark_settled([settled], [], NOW_MS)
        client = QuotaClient(quota.admin_channel)

        Sweep(outbox=outbox, held=client).release_all()

        assert client.open_after("", 10) == sorted([booked, running])


@dataclass
class Held:
    """`ports.OpenReservations` of the ledger over a store."""

    store: RedisCounters

    def open_after(self, reservation: str, limit: int) -> list[str]:
        return self.store.open_after(reservation, limit)

    def release_reservations(self, reservations: Sequence[str]) -> int:
        return self.store.release(reservation_ids=reservations)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def test_what_was_settled_through_another_quota_just_before_the_loss_is_not_held_for_long(
    tmp_path: Path, outbox: SqlOutbox
) -> None:
    with contextlib.ExitStack() as stack:
        redis, tag = stack.enter_context(RedisProcess()), uuid.uuid4().hex
        store, other = (
            stack.enter_context(contextlib.closing(RedisCounters(redis.url, tag, MemorySnapshots(), fresh=True)))
            for _ in range(2)
        )
        settled, running = bounded(1, None), bounded(2, None)
        other.reserve([], lambda _: (settled, None))
        other.reserve([], lambda _: (running, None))
        book(tmp_path, settled.id)
        store.settle([settlement_of(settled, 60)], lambda _: None, NOW_MS)
        outbox.mark_settled([settled.id], [], NOW_MS)
        redis.client.flushall()

        store.restore([Sum(SPEND, ENDS_MS, 60)])
        eventually(lambda: store.is_ready() and other.is_ready())
        assert store.levels([SPEND]) == [(60, 2 * HELD)]
        Sweep(outbox=outbox, held=Held(store)).release_all()

        assert store.levels([SPEND]) == [(60, HELD)]
        assert store.open_after("", 10) == [running.id]
