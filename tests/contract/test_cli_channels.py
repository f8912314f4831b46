"""`spendgate channels`, `spendgate alerts deliveries` and `retry`, and what `doctor` says of channels."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.cli.diagnosis import Level
from services.cli.diagnosis.alerts import examine_alerts
from services.cli.gateway import Gateway
from services.cli.gateway_address import GatewayAddress
from tests.worlds.cli import Cli
from tests.worlds.stand_in_services import TOKEN, StandIn

CHANNELS = [
    ledger.AlertChannel(name="finance", webhook="https://example.com", secret_env="HOOK"),
    ledger.AlertChannel(name="ops", url="slack://"),
]


def delivery(channel: str, state: ledger.Delivery.State.ValueType, attempts: int, problem: str = "") -> ledger.Delivery:
    return ledger.Delivery(
        id=f"msg_{channel}",
        source=ledger.Delivery.SOURCE_LIMIT,
        alert=7,
        channel=channel,
        state=state,
        attempts=attempts,
        create_time=Timestamp(seconds=1_800_000_000),
        end_time=Timestamp(seconds=1_800_000_002),
        problem=problem,
    )


def test_channels_are_listed(services: StandIn, cli: Cli) -> None:
    services.answers["LedgerService.ListAlertChannels"] = ledger.ListAlertChannelsResponse(channels=CHANNELS)
    assert cli.json("channels", "list")["channels"] == [
        {"name": "finance", "url": "", "webhook": "https://example.com", "secret_env": "HOOK"},
        {"name": "ops", "url": "slack://", "webhook": "", "secret_env": ""},
    ]


def test_deliveries_say_what_became_of_each_alert(services: StandIn, cli: Cli) -> None:
    found = [delivery("finance", ledger.Delivery.STATE_FAILED, 13, "status 500")]
    services.answers["LedgerService.ListDeliveries"] = ledger.ListDeliveriesResponse(deliveries=found)
    (shown,) = cli.json("alerts", "deliveries", "--failed")["deliveries"]
    assert shown == {
        "id": "msg_finance",
        "channel": "finance",
        "attempts": 13,
        "problem": "status 500",
        "state": "failed",
        "source": "limit",
        "alert": 7,
        "found_at": "2027-01-15T08:00:00Z",
        "next_attempt_at": None,
        "ended_at": "2027-01-15T08:00:02Z",
    }
    assert services.requests[-1][1].failed_only


@pytest.mark.parametrize(
    ("deliveries", "level", "text"),
    [
        ([], Level.OK, "2 channels, nothing waits in vain"),
        ([delivery("ops", ledger.Delivery.STATE_DELIVERED, 2)], Level.OK, "2 channels, nothing waits in vain"),
        (
            [delivery("ops", ledger.Delivery.STATE_WAITING, 3, "status 500")],
            Level.WARN,
            "the newest has not arrived yet after 3 attempts: status 500",
        ),
        (
            [
                delivery("ops", ledger.Delivery.STATE_FAILED, 13, "status 410"),
                delivery("ops", ledger.Delivery.STATE_DELIVERED, 1),
            ],
            Level.FAIL,
            "the newest was given up after 13 attempts: status 410",
        ),
        # It works again.
        (
            [
                delivery("ops", ledger.Delivery.STATE_DELIVERED, 1),
                delivery("ops", ledger.Delivery.STATE_FAILED, 13, "status 410"),
            ],
            Level.OK,
            "2 channels, nothing waits in vain",
        ),
    ],
)
def test_doctor_says_which_channel_does_not_get_its_alerts(
    services: StandIn, deliveries: list[ledger.Delivery], level: Level, text: str
) -> None:
    services.answers["LedgerService.ListAlertChannels"] = ledger.ListAlertChannelsResponse(channels=CHANNELS)
    services.answers["LedgerService.ListDeliveries"] = ledger.ListDeliveriesResponse(deliveries=deliveries)
    with Gateway(GatewayAddress(services.address, TOKEN)) as gateway:
        (finding,) = examine_alerts(gateway)
    assert (finding.level, finding.text) == (level, text)


def test_doctor_warns_if_nobody_hears_of_anything(services: StandIn) -> None:
    services.answers["LedgerService.ListAlertChannels"] = ledger.ListAlertChannelsResponse()
    with Gateway(GatewayAddress(services.address, TOKEN)) as gateway:
        (finding,) = examine_alerts(gateway)
    assert (finding.level, finding.text) == (Level.WARN, "there are no channels, so alerts are only listed")
