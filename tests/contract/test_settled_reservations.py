"""Reservations that are open although the ledger has settled their calls: in a real quota, and in every store."""

from __future__ import annotations

from collections.abc import Sequence
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
from services.quota.domain.counters.counter import Level
from tests.contract import test_counter_store as suite
from tests.contract.test_counter_store import NOW_MS, SPEND, Store, always, nothing, reservation, settlement
from tests.worlds.quota_process import MODEL, QuotaProcess, configuration, planned_target, route_plan, spend_policy
from tests.worlds.quota_process import call as ask
from tests.worlds.spool_lines import EPOCH, call, open_database, price_of

store = suite.store


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

    store: Store

    def open_after(self, reservation: str, limit: int) -> list[str]:
        return self.store.open_after(reservation, limit)

    def release_reservations(self, reservations: Sequence[str]) -> int:
        return self.store.release(reservation_ids=reservations)


def test_what_is_held_again_after_it_was_settled_is_given_back_and_costs_nothing_more(
    tmp_path: Path, outbox: SqlOutbox, store: Store
) -> None:
    settled, running = reservation(1, {SPEND: 70}), reservation(2, {SPEND: 30})
    for made in (settled, running):
        store.reserve([], always(made))
    book(tmp_path, settled.id)
    store.settle([settlement(settled, 40)], nothing, NOW_MS)
    outbox.mark_settled([settled.id], [], NOW_MS)
    store.reserve([], always(settled))
    assert store.levels([SPEND]) == [Level(40, 100)]

    Sweep(outbox=outbox, held=Held(store)).release_all()

    assert store.levels([SPEND]) == [Level(40, 30)]
    assert store.open_after("", 10) == [running.id]
