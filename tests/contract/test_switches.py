"""Switches from the router's client through the ledger's service into its database, and out again as alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.chassis.grpc_server import build_server, open_channel
from services.kernel.clock import ManualClock
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import Unavailable
from services.ledger.adapters.sql_alerts import SqlSwitches
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_outbox import SqlOutbox
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.settlement import Alert, Crossing
from services.ledger.transport.switch_service import SwitchService
from services.ledger.usecases.query import Query
from services.ledger.usecases.record_switches import RecordSwitches
from services.router.adapters.ledger_client import LedgerClient
from services.router.domain.health import Figure
from services.router.domain.model import Measure, Term
from services.router.domain.switch import Direction, NamedSwitch, Switch
from tests.worlds.router import group
from tests.worlds.spool_lines import open_database

FIGURE = Figure(Term(Measure.ERROR_RATE, 2_000, 60), 20, 12)


class Recipients:
    """What quota says."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked: list[str] = []

    def recipients_of(self, model: str) -> tuple[str, ...]:
        if self.is_away:
            raise Unavailable("quota is away")
        self.asked.append(model)
        return (f"lead-of-{model}", "finance")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@pytest.fixture
def recipients() -> Recipients:
    return Recipients()


@pytest.fixture
def routers(tmp_path: Path, database: Database, recipients: Recipients) -> Iterator[tuple[LedgerClient, LedgerClient]]:
    service = SwitchService(RecordSwitches(SqlSwitches(database), recipients, ManualClock()))
    address = f"unix:{tmp_path}/ledger.sock"
    server = build_server(address, [service.registration], workers=2)
    server.start()
    channel: grpc.Channel
    with open_channel(address) as channel:
        yield LedgerClient(channel, "here"), LedgerClient(channel, "there")
    server.stop(0).wait()


@pytest.fixture
def router(routers: tuple[LedgerClient, LedgerClient]) -> LedgerClient:
    return routers[0]


def switch(name: str, time_ms: int = 1_000, *, model: str = "m", direction: Direction = Direction.LEFT) -> NamedSwitch:
    one = Switch(
        model, 7_500, group("lab/a"), group("lab/b", "lab/c"), LeadReason.ERRORS, (FIGURE,), time_ms, direction
    )
    return NamedSwitch(name, one)


def listed(database: Database) -> list[str]:
    return [
        alert.switch.id if isinstance(alert, SwitchAlert) else str(alert.crossing.sequence)
        for alert in SqlReports(database).alerts(None, 100)
    ]


def test_a_switch_becomes_an_alert_for_those_whom_quota_names(router: LedgerClient, database: Database) -> None:
    router.report([switch("one")])
    (alert,) = SqlReports(database).alerts(None, 10)
    assert isinstance(alert, SwitchAlert)
    assert (alert.notify, alert.delivered_ms) == (("lead-of-m", "finance"), None)
    told = alert.switch
    assert (told.model, told.from_basis_points, told.time_ms) == ("m", 7_500, 1_000)
    assert (told.direction.value, told.reason) == ("left", LeadReason.ERRORS)
    assert (told.previous_targets, told.targets) == (("lab/a",), ("lab/b", "lab/c"))
    assert told.evidence == "12 of 20 attempts failed within 60 s"


def test_every_reason_and_direction_arrives(router: LedgerClient, database: Database) -> None:
    for reason in LeadReason:
        for direction in Direction:
            one = Switch("m", 0, group("lab/a"), group("lab/b"), reason, (), 1, direction)
            router.report([NamedSwitch(f"{reason}-{direction}", one)])
    assert len(listed(database)) == len(LeadReason) * len(Direction)


def test_a_repeated_report_is_one_alert(router: LedgerClient, database: Database, recipients: Recipients) -> None:
    router.report([switch("one")])
    router.report([switch("one"), switch("two", 2_000)])
    router.report([switch("one"), switch("two", 2_000)])
    assert listed(database) == ["two", "one"]
    assert recipients.asked == ["m", "m"]


BACK = Direction.RETURNED


def test_two_routers_that_agree_tell_people_once_each_way(
    routers: tuple[LedgerClient, LedgerClient], database: Database
) -> None:
    here, there = routers
    here.report([switch("left-here", 1_000)])
    there.report([switch("left-there", 1_400)])
    there.report([switch("back-there", 9_000, direction=BACK)])
    here.report([switch("back-here", 9_300, direction=BACK)])
    assert listed(database) == ["back-there", "left-here"]

    # The answer to a report was lost, and it comes again when the news is another by now.
    there.report([switch("left-there", 1_400)])
    assert listed(database) == ["back-there", "left-here"]
    # The next outage is news again.
    there.report([switch("left-again", 20_000)])
    here.report([switch("left-again-here", 20_100)])
    assert listed(database) == ["left-again", "back-there", "left-here"]


def test_routers_that_do_not_agree_are_both_heard(
    routers: tuple[LedgerClient, LedgerClient], database: Database
) -> None:
    here, there = routers
    elsewhere = Switch("m", 7_500, group("lab/a"), group("lab/d"), LeadReason.ERRORS, (), 2_000, Direction.LEFT)
    here.report([switch("here", 1_000)])
    there.report([NamedSwitch("there", elsewhere), switch("other-model", 3_000, model="n")])
    assert listed(database) == ["other-model", "there", "here"]


def test_a_router_that_does_not_say_who_it_is_is_always_heard(
    routers: tuple[LedgerClient, LedgerClient], database: Database, tmp_path: Path
) -> None:
    routers[0].report([switch("here", 1_000)])
    with open_channel(f"unix:{tmp_path}/ledger.sock") as channel:
        LedgerClient(channel, "").report([switch("nameless", 1_100)])
    assert listed(database) == ["nameless", "here"]


def test_while_quota_is_away_nothing_is_recorded_and_the_router_hears_so(
    router: LedgerClient, database: Database, recipients: Recipients
) -> None:
    recipients.is_away = True
    with pytest.raises(Unavailable, match="does not take switches: UNAVAILABLE"):
        router.report([switch("one")])
    assert listed(database) == []
    recipients.is_away = False
    router.report([switch("one")])
    assert listed(database) == ["one"]


def test_alerts_of_limits_and_switches_are_one_list_with_pages(router: LedgerClient, database: Database) -> None:
    def crossing(sequence: int, crossed_ms: int) -> Crossing:
        return Crossing(sequence, "p", "spend per month", "team=t", 1, sequence, ("ops",), crossed_ms, 80, 100)

    SqlOutbox(database).mark_settled([], [crossing(10, 1_000), crossing(11, 3_000)], 5)
    router.report([switch("b", 1_000), switch("a", 2_000), switch("c", 3_000)])

    query, before, pages = Query(SqlReports(database)), None, []
    while True:
        page, before = query.alerts(before, 2)
        pages.append([alert.switch.id if isinstance(alert, SwitchAlert) else "limit" for alert in page])
        if before is None:
            break
    assert pages == [["c", "limit"], ["a", "b"], ["limit"]]
    assert SqlOutbox(database).last_crossing() == 11


def test_an_alert_of_a_limit_is_what_it_was(database: Database) -> None:
    one = Crossing(1, "p", "spend per month", "team=t", 1, 8_000, ("ops",), 2, 80, 100)
    SqlOutbox(database).mark_settled([], [one], 5)
    assert SqlReports(database).alerts(None, 10) == [Alert(one, None)]
