"""Channels and deliveries over a real gRPC server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from spendgate.ledger.v1 import ledger_service_pb2 as pb

from tests.worlds.alert_receivers import hook
from tests.worlds.ledger_api import Api, ledger_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with ledger_api(tmp_path) as found:
        yield found


def test_channels_are_listed_without_secrets_and_tried_by_name(api: Api) -> None:
    with hook() as receiver:
        channels = [
            pb.AlertChannel(name="chat", url="slack://TokenA/TokenB/TokenC"),
            pb.AlertChannel(name="hook", webhook=f"{receiver.url}?token=hidden"),
        ]
        api.ledger.ApplyConfiguration(pb.ApplyConfigurationRequest(channels=channels))
        listed = api.ledger.ListAlertChannels(pb.ListAlertChannelsRequest()).channels
        assert [(each.name, each.url, each.webhook) for each in listed] == [
            ("chat", "slack://", ""),
            ("hook", "", "http://127.0.0.1"),
        ]
        assert not api.ledger.TestAlertChannel(pb.TestAlertChannelRequest(name="hook")).problem
        receiver.answers = [500]
        assert api.ledger.TestAlertChannel(pb.TestAlertChannelRequest(name="hook")).problem == "status 500"
    with pytest.raises(grpc.RpcError) as caught:
        api.ledger.TestAlertChannel(pb.TestAlertChannelRequest(name="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_there_are_no_deliveries_yet_and_none_to_retry(api: Api) -> None:
    assert not api.ledger.ListDeliveries(pb.ListDeliveriesRequest()).deliveries
    with pytest.raises(grpc.RpcError) as caught:
        api.ledger.RetryDelivery(pb.RetryDeliveryRequest(id="msg_0"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
