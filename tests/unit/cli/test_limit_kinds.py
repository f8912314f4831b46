from __future__ import annotations

from spendgate.quota.v1 import quota_service_pb2 as quota

from services.cli.limit_kinds import is_money, kind_name

NEWER = 99


def test_amounts_of_spend_of_one_call_and_of_a_burn_rate_are_money_and_no_others() -> None:
    money = {kind_name(number) for number in quota.LimitKind.values() if is_money(number)}
    assert money == {"spend", "request_cost", "burn_rate"}


def test_a_kind_that_only_a_newer_gateway_knows_is_named_as_the_caller_likes() -> None:
    assert (kind_name(NEWER), kind_name(NEWER, "unknown"), is_money(NEWER)) == ("?", "unknown", False)
