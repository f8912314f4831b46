"""Whether alerts reach people."""

from __future__ import annotations

from collections.abc import Iterator

from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.cli.diagnosis.findings import Finding, Level
from services.cli.gateway import Gateway

_LOOKED_AT = 200


def examine_alerts(gateway: Gateway) -> Iterator[Finding]:
    """One finding for each channel whose newest alert did not arrive, or one for all."""
    channels = gateway.ledger.ListAlertChannels(ledger.ListAlertChannelsRequest()).channels
    if not channels:
        text = "there are no channels, so alerts are only listed"
        yield Finding("alerts", Level.WARN, text, "write one named `default` under `channels:`")
        return
    newest: dict[str, ledger.Delivery] = {}
    for delivery in gateway.ledger.ListDeliveries(ledger.ListDeliveriesRequest(page_size=_LOOKED_AT)).deliveries:
        newest.setdefault(delivery.channel, delivery)
    failing = [one for one in newest.values() if one.problem and one.state != ledger.Delivery.STATE_DELIVERED]
    for delivery in failing:
        is_over = delivery.state == ledger.Delivery.STATE_FAILED
        text = f"{'was given up' if is_over else 'has not arrived yet'} after {delivery.attempts} attempts"
        remedy = f"then `spendgate alerts retry {delivery.id}`" if is_over else "it is tried again by itself"
        yield Finding(
            f"alerts to {delivery.channel}",
            Level.FAIL if is_over else Level.WARN,
            f"the newest {text}: {delivery.problem}",
            f"mend it, and try `spendgate channels test {delivery.channel}`; {remedy}",
        )
    if not failing:
        yield Finding("alerts", Level.OK, f"{len(channels)} channels, nothing waits in vain")
