"""Alerts from the ledger's database to receivers on real sockets.

Most tests send in their own process, because starting one for each attempt takes its time. The last ones do not.
"""

from __future__ import annotations

import fcntl
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.kernel.clock import ManualClock
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import NotFound
from services.ledger.adapters import courier_process
from services.ledger.adapters.courier import CourierProcess, written
from services.ledger.adapters.sql_alerts import SqlSwitches
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_deliveries import SqlDeliveries
from services.ledger.adapters.sql_outbox import SqlOutbox
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.delivery_ports import Courier, DeliveryStore, Failure, Parcel
from services.ledger.domain.alert_text import Words
from services.ledger.domain.configuration import Channel
from services.ledger.domain.delivery import ATTEMPTS_MAX, Delivery, DeliveryState
from services.ledger.domain.lead_switch import Direction, LeadSwitch
from services.ledger.domain.settlement import Crossing
from services.ledger.usecases.deliver import Deliver
from tests.worlds.alert_receivers import Hook, Mailbox, hook, mailbox
from tests.worlds.spool_lines import open_database

# Apprise imports it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CROSSING = Crossing(1, "pol", "spend per month", "team=t", 0, 8_000, ("finance",), 1_000, 80, 100)
SWITCH = LeadSwitch("s", 1, "m", 0, Direction.LEFT, LeadReason.ERRORS, ("a/b",), ("c/d",), "")
DAY_MS = 86_400_000


class WithoutProcess:
    """A courier that sends in this process."""

    def leftovers(self) -> Mapping[str, Failure | None]:
        return {}

    def forget(self) -> None:
        """There is no journal."""

    def try_one(self, parcel: Parcel) -> Failure | None:
        return self.send([parcel])[parcel.id]

    def send(self, parcels: Sequence[Parcel]) -> Mapping[str, Failure | None]:
        results = {parcel.id: courier_process.send(written(parcel)) for parcel in parcels}
        return {name: None if problem is None else Failure(problem, gone) for name, (problem, gone) in results.items()}


@dataclass
class Ledger:
    """The part of a ledger that sends."""

    database: Database
    channels: dict[str, Channel]
    # Signatures have the real time, and receivers check it.
    clock: ManualClock = field(default_factory=lambda: ManualClock(int(time.time() * 1000)))
    variables: dict[str, str] = field(default_factory=lambda: {"SIGN": SECRET})
    numbers: Iterator[int] = field(default_factory=count)
    courier: Courier = field(default_factory=WithoutProcess)

    def __post_init__(self) -> None:
        self.deliver = self.started()

    def started(
        self, store: DeliveryStore | None = None, secret_of: Callable[[str], str | None] | None = None
    ) -> Deliver:
        """A new process over the same database."""
        return Deliver(
            store or SqlDeliveries(self.database),
            channels=lambda: self.channels,
            secret_of=secret_of or self.variables.get,
            courier=self.courier,
            clock=self.clock,
            new_id=lambda: f"msg_{next(self.numbers)}",
        )

    def cross(self, *crossings: Crossing) -> None:
        SqlOutbox(self.database).mark_settled([], crossings, self.clock.now_ms())

    def run_for(self, milliseconds: int) -> None:
        """Makes the attempts of that time, a second after the other."""
        for _ in range(0, milliseconds, 1_000):
            self.deliver()
            self.clock.advance(1_000)

    def states(self) -> Mapping[str, DeliveryState]:
        found, _ = self.deliver.deliveries(None, 100, failed_only=False)
        return {delivery.channel: delivery.state for delivery in found}

    def the_one(self) -> Delivery:
        (found,), _ = self.deliver.deliveries(None, 100, failed_only=False)
        return found


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as found:
        yield found


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


@pytest.fixture
def ledger(tmp_path: Path, receiver: Hook, mails: Mailbox) -> Ledger:
    channels = [Channel("finance", webhook=receiver.url, secret_env="SIGN"), Channel("lead", url=mails.url)]
    return Ledger(open_database(tmp_path), {channel.name: channel for channel in channels})


def test_a_webhook_gets_a_signed_alert_that_its_receiver_can_verify(ledger: Ledger, receiver: Hook) -> None:
    ledger.cross(CROSSING)
    ledger.run_for(2_000)
    (got,) = receiver.posted
    said = Webhook(SECRET).verify(got.body, got.headers)
    assert said["type"] == "budget.threshold"
    assert said["data"]["title"] == "pol: 80% of spend per month used"
    assert (said["data"]["policy"], said["data"]["settled"]) == ("pol", "0.000000080")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace("80%", "10%"), got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(got.body, got.headers)


def test_a_mail_says_the_same(ledger: Ledger, mails: Mailbox) -> None:
    ledger.cross(replace(CROSSING, notify=("lead",)))
    ledger.run_for(2_000)
    (mail,) = mails.mails
    assert mail["subject"] == "Spendgate: pol: 80% of spend per month used"
    text = next(part for part in mail.walk() if part.get_content_type() == "text/plain").get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "spend per month of policy pol, team=t.\n" in text.decode().replace("\r\n", "\n")


def test_each_recipient_gets_one_alert_whatever_answers_and_restarts_come_between(
    ledger: Ledger, receiver: Hook, mails: Mailbox
) -> None:
    receiver.answers = [500, 500, 500]
    ledger.cross(replace(CROSSING, notify=("finance", "lead")))
    for _ in range(12):
        ledger.run_for(1_000)
        ledger.deliver = ledger.started()
        # Quota repeats crossings that nobody confirmed.
        ledger.cross(replace(CROSSING, notify=("finance", "lead")))
    assert [each.status for each in receiver.posted] == [500, 500, 500, 204]
    assert len({each.headers["webhook-id"] for each in receiver.posted}) == 1
    assert len(mails.mails) == 1
    assert set(ledger.states().values()) == {DeliveryState.DELIVERED}
    (alert,) = SqlReports(ledger.database).alerts(None, 10)
    assert alert.delivered_ms is not None


def test_an_alert_is_delivered_when_everybody_has_it(ledger: Ledger, receiver: Hook) -> None:
    receiver.answers = [500]
    ledger.cross(replace(CROSSING, notify=("finance", "lead")))
    ledger.run_for(1_000)
    (alert,) = SqlReports(ledger.database).alerts(None, 10)
    assert alert.delivered_ms is None


def test_a_ledger_that_dies_before_it_records_an_attempt_leaves_that_to_the_next_one(
    ledger: Ledger, receiver: Hook, tmp_path: Path
) -> None:
    class Died(BaseException):
        pass

    class Dying(SqlDeliveries):
        def update(self, changed: object) -> None:
            raise Died

    ledger.courier = CourierProcess(tmp_path / "journal")
    ledger.cross(CROSSING)
    with pytest.raises(Died):
        ledger.started(Dying(ledger.database))()
    ledger.deliver = ledger.started()
    ledger.run_for(2_000)
    assert len(receiver.posted) == 1
    assert ledger.the_one().state is DeliveryState.DELIVERED


def test_while_the_courier_of_a_dead_ledger_still_sends_the_next_one_waits(
    ledger: Ledger, receiver: Hook, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    ledger.courier = CourierProcess(journal)
    ledger.deliver = ledger.started()
    ledger.cross(CROSSING)
    with journal.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ledger.run_for(3_000)
        assert not receiver.posted
    ledger.run_for(1_000)
    assert len(receiver.taken) == 1


def test_a_switch_is_sent_too(ledger: Ledger, receiver: Hook) -> None:
    SqlSwitches(ledger.database).add_switches([(SWITCH, ("finance",))], 1)
    ledger.run_for(2_000)
    (got,) = receiver.posted
    assert json.loads(got.body)["type"] == "model.switched"


def test_who_never_answers_well_is_given_up_and_can_be_tried_again(ledger: Ledger, receiver: Hook) -> None:
    receiver.answers = [503] * ATTEMPTS_MAX
    ledger.cross(CROSSING)
    for _ in range(ATTEMPTS_MAX):
        ledger.deliver()
        ledger.clock.advance(DAY_MS)
    failed = ledger.the_one()
    assert (failed.state, failed.problem, failed.attempts) == (DeliveryState.FAILED, "status 503", ATTEMPTS_MAX)
    ledger.deliver()
    assert len(receiver.posted) == ATTEMPTS_MAX
    ledger.deliver.retry(failed.id)
    ledger.deliver()
    assert ledger.the_one().state is DeliveryState.DELIVERED
    assert {each.headers["webhook-id"] for each in receiver.posted} == {failed.id}
    assert ledger.deliver.retry(failed.id).state is DeliveryState.DELIVERED
    ledger.deliver()
    assert len(receiver.taken) == 1
    with pytest.raises(NotFound, match="there is no delivery 'nobody'"):
        ledger.deliver.retry("nobody")


@pytest.mark.parametrize(
    ("answer", "problem", "state"),
    [
        (410, "status 410", DeliveryState.FAILED),
        (302, "status 302: redirects are not followed", DeliveryState.WAITING),
        (404, "status 404", DeliveryState.WAITING),
    ],
)
def test_other_answers(ledger: Ledger, receiver: Hook, answer: int, problem: str, state: DeliveryState) -> None:
    receiver.answers = [answer]
    ledger.cross(CROSSING)
    ledger.deliver()
    assert (ledger.the_one().problem, ledger.the_one().state) == (problem, state)


def test_a_channel_that_was_removed_gets_nothing_and_the_log_says_so(ledger: Ledger) -> None:
    ledger.cross(CROSSING)
    del ledger.channels["finance"]
    ledger.deliver()
    assert ledger.the_one().problem == "there is no channel finance any more"
    assert ledger.the_one().state is DeliveryState.FAILED


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "SIGN, to sign with, is not set where the gateway was started"),
        ("not base64!", "the secret to sign with must be base64"),
    ],
)
def test_nothing_is_sent_unsigned_by_mistake(ledger: Ledger, receiver: Hook, value: str, problem: str) -> None:
    ledger.variables["SIGN"] = value
    ledger.cross(CROSSING)
    ledger.deliver()
    assert ledger.the_one().problem.startswith(problem)
    assert not receiver.posted
    ledger.variables["SIGN"] = SECRET
    ledger.run_for(3_000)
    assert len(receiver.taken) == 1


def test_one_bad_channel_keeps_nobody_else_waiting(ledger: Ledger, receiver: Hook) -> None:
    ledger.channels["broken"] = Channel("broken", url="nosuch://x")
    ledger.channels["deaf"] = Channel("deaf", webhook="http://127.0.0.1:9/hook")
    ledger.cross(replace(CROSSING, notify=("broken", "deaf", "finance")))
    ledger.deliver()
    assert ledger.states() == {
        "broken": DeliveryState.WAITING,
        "deaf": DeliveryState.WAITING,
        "finance": DeliveryState.DELIVERED,
    }
    problems = {one.channel: one.problem for one in ledger.deliver.deliveries(None, 10, failed_only=False)[0]}
    assert problems["broken"].startswith("Apprise does not know such an address")
    assert problems["deaf"] == "no answer: ConnectError"


def test_alerts_of_earlier_releases_are_not_sent_late(ledger: Ledger, receiver: Hook) -> None:
    ledger.cross(CROSSING)
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE alerts SET planned = 1")
    ledger.run_for(2_000)
    assert not receiver.posted


def test_deliveries_come_in_pages_newest_first(ledger: Ledger) -> None:
    ledger.cross(*(replace(CROSSING, sequence=number, scope=f"user={number}") for number in range(1, 8)))
    ledger.deliver()
    seen, position = [], None
    while True:
        page, position = ledger.deliver.deliveries(position, 3, failed_only=False)
        seen += [delivery.alert for delivery in page]
        if position is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_a_test_says_at_once_whether_it_arrived(ledger: Ledger, receiver: Hook) -> None:
    assert ledger.deliver.test("finance") is None
    assert json.loads(receiver.posted[0].body)["type"] == "channel.test"
    receiver.answers = [500]
    failure = ledger.deliver.test("finance")
    assert failure is not None
    assert failure.problem == "status 500"
    with pytest.raises(NotFound, match="there is no channel 'finanse'"):
        ledger.deliver.test("finanse")
    assert not ledger.states()


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


def parcel(parcel_id: str, channel: Channel) -> Parcel:
    return Parcel(parcel_id, channel, "", Words("t", "x", "channel.test", {}), 0)


def hanging_at(listening: socket.socket) -> Parcel:
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    return parcel("msg_1", Channel("hanging", webhook=address))


def test_a_receiver_that_hangs_ends_with_its_batch_and_the_others_have_arrived(
    receiver: Hook, deaf: socket.socket, tmp_path: Path
) -> None:
    good = parcel("msg_2", Channel("good", webhook=receiver.url))
    results = CourierProcess(tmp_path / "journal", timeout_s=5).send([hanging_at(deaf), good])
    assert results["msg_2"] is None
    assert results["msg_1"] is not None
    assert results["msg_1"].problem == "no answer within 5 s"


def test_a_batch_ends_when_the_ledger_stops(deaf: socket.socket, tmp_path: Path) -> None:
    courier = CourierProcess(tmp_path / "journal")
    results: list[Mapping[str, object]] = []
    sending = threading.Thread(target=lambda: results.append(courier.send([hanging_at(deaf)])))
    sending.start()
    asked, _ = deaf.accept()
    with asked:
        courier.stop()
        sending.join(10)
    assert not sending.is_alive()
    assert results[0]["msg_1"] is not None


def test_while_nobody_can_say_the_secret_the_alert_waits(ledger: Ledger, receiver: Hook) -> None:
    def away(_: str) -> str | None:
        raise TimeoutError

    ledger.cross(CROSSING)
    ledger.started(secret_of=away)()
    assert ledger.the_one().problem == "SIGN cannot be asked of `spendgate up`: TimeoutError"
    ledger.run_for(3_000)
    assert len(receiver.taken) == 1
