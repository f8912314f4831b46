"""A repeated ClearDoubts: it gets the first answer again, and doubt that came later stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from spendgate.quota.v1.admin_service_pb2 import ListAuditEntriesRequest

from services.chassis.audit import AuditLog
from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.clock import ManualClock
from services.quota.adapters.directory_tables import AUDIT
from services.quota.adapters.sql_directory import SqlAuditTrail
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.domain.counters.doubt import Selection
from services.quota.usecases.doubts import Cleared, Doubts
from tests.contract.test_counter_store import NOW_MS, SPEND
from tests.contract.test_doubts import killed, leave
from tests.worlds.counter_store_notes import open_file
from tests.worlds.repetitions import again, asked

OF_THE_POLICY = Selection(policy=SPEND.policy)


class Desk:
    """Clears doubt of a counter store in a file, with an audit log beside it."""

    def __init__(self, folder: Path, counters: SqliteCounters) -> None:
        self.counters = counters
        engine = open_engine(folder / "quota.sqlite")
        migrate(engine, "services.quota")
        self.doubts = Doubts(store=counters, audit=SqlAuditTrail(engine), clock=ManualClock(NOW_MS))
        self.log = AuditLog(engine, AUDIT)
        self.close = engine.dispose

    @property
    def entries(self) -> int:
        return len(self.log.page(ListAuditEntriesRequest()).audit_entries)

    @property
    def in_doubt(self) -> int:
        return len(self.counters.doubts_after("", 99))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_file(tmp_path) as file:
        desk = Desk(tmp_path, SqliteCounters(file))
        yield desk
        desk.close()


def test_a_repetition_tells_what_was_cleared_and_leaves_later_doubt_alone(desk: Desk) -> None:
    by = asked(method="Clear")
    leave(desk.counters, 1)
    cleared = desk.doubts.clear(OF_THE_POLICY, by=by)
    leave(desk.counters, 2)

    assert desk.doubts.clear(OF_THE_POLICY, by=again(by)) == cleared
    assert (cleared.calls, cleared.amounts) == (1, {SPEND: 30})
    assert desk.entries == 1
    assert desk.in_doubt == 1


def test_a_repetition_of_a_request_that_found_nothing_clears_nothing(desk: Desk) -> None:
    by = asked(method="Clear")
    assert desk.doubts.clear(OF_THE_POLICY, by=by) == Cleared()
    leave(desk.counters, 1)

    assert desk.doubts.clear(OF_THE_POLICY, by=again(by)) == Cleared()
    assert desk.in_doubt == 1
    assert desk.entries == 0


def test_a_repetition_finishes_what_a_killed_process_began_and_no_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = asked(method="Clear")
    leave(desk.counters, 1)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteCounters, "clear_doubts", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.doubts.clear(OF_THE_POLICY, by=by)
    later = leave(desk.counters, 2)

    assert desk.doubts.clear(OF_THE_POLICY, by=again(by)) == Cleared(1, {SPEND: 30})
    assert [doubt.reservation.id for doubt in desk.counters.doubts_after("", 99)] == [later.id]
    assert desk.entries == 1
