"""Unknown members in a Check: they go into the record of the call, or into the reason of its refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.ledger.domain.call import SpooledCall, parse_line
from tests.worlds.joined import joined
from tests.worlds.quota_process import (
    MODEL,
    SECRET,
    QuotaProcess,
    call,
    configuration,
    planned_target,
    route_plan,
    spend_policy,
)
from tests.worlds.spool_lines import call_fields

MANY = [f"messages.content.a_member_that_is_new_number_{at:02}.with_a_long_path" for at in range(16)]


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        targets = [planned_target("lab/tiny"), planned_target("lab/claude", "anthropic")]
        process.publish(route_plan("v1", {MODEL: targets}))
        yield process


def metadata_of(response: auth_pb.CheckResponse) -> dict[str, Any]:
    return joined(json_format.MessageToDict(response.dynamic_metadata), "admitted")


def test_what_nobody_knows_and_what_changes_the_price_goes_into_the_record(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    asked: dict[str, Any] = {"unknown_members": "frobnicate,messages.mood", "price_options": "service_tier=priority"}

    told = metadata_of(quota.check(call(**asked)))
    plain = metadata_of(quota.check(call()))

    assert {name: told[name] for name in asked} == asked
    assert not asked.keys() & plain.keys()


def test_many_long_names_are_cut_to_what_a_line_of_the_spool_has_room_for(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    betas = ",".join(f"{at:02}-{'x' * 60}" for at in range(32))
    asked = call(
        path="/v1/messages", dialect="anthropic", headers={"anthropic-beta": betas}, unknown_members=",".join(MANY)
    )

    told = metadata_of(quota.check(asked))["unknown_members"]

    *named, more = told.split(",")
    assert len(told) <= 1_024
    assert named == MANY[: len(named)]
    assert more == f"+{48 - len(named)}"
    booked = parse_line(call_fields(unknown_members=told, price_options=told, dropped="x" * 1_024))
    assert isinstance(booked, SpooledCall)
    assert booked.unknown_members == told


def test_a_key_in_a_name_is_in_no_answer(quota: QuotaProcess) -> None:
    policy = spend_policy("careful", 1)
    for refuses in (False, True):
        policy.refuses_unknown_members = refuses
        quota.quota.ApplyConfiguration(configuration(policy))
        answer = quota.check(call(unknown_members=f"messages.{SECRET}"))
        assert answer.HasField("denied_response" if refuses else "ok_response")
        assert SECRET not in str(answer)
        assert "(withheld)" in str(answer)
