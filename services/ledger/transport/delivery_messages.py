"""Channels and deliveries as messages."""

from __future__ import annotations

from urllib.parse import urlsplit

from spendgate.ledger.v1 import ledger_service_pb2 as pb

from services.chassis.enums import enum_table
from services.chassis.well_known import timestamp
from services.ledger.domain.configuration import Channel
from services.ledger.domain.delivery import AlertSource, Delivery, DeliveryState

_STATES = enum_table(pb.Delivery.State, DeliveryState)
_SOURCES = enum_table(pb.Delivery.Source, AlertSource)


def channel_message(channel: Channel) -> pb.AlertChannel:
    """Returns a channel without what may be secret: an Apprise URL is full of it, a webhook's path may be."""
    webhook = urlsplit(channel.webhook)
    return pb.AlertChannel(
        name=channel.name,
        url=f"{urlsplit(channel.url).scheme}://" if channel.url else "",
        webhook=f"{webhook.scheme}://{webhook.hostname}" if channel.webhook else "",
        secret_env=channel.secret_env,
    )


def delivery_message(delivery: Delivery) -> pb.Delivery:
    """Returns a delivery."""
    is_waiting = delivery.state is DeliveryState.WAITING
    return pb.Delivery(
        id=delivery.id,
        source=_SOURCES.numbers[delivery.source],
        alert=delivery.alert,
        channel=delivery.channel,
        state=_STATES.numbers[delivery.state],
        attempts=delivery.attempts,
        create_time=timestamp(delivery.created_ms),
        due_time=timestamp(delivery.due_ms) if is_waiting else None,
        end_time=None if delivery.ended_ms is None else timestamp(delivery.ended_ms),
        problem=delivery.problem,
    )
