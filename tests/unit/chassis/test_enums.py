from __future__ import annotations

from enum import StrEnum

import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb

from services.chassis.enums import enum_names, enum_numbers, enum_table
from services.kernel.errors import InvalidInput
from services.kernel.limit_kind import LimitKind


class Mode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"
    DISABLED = "off"


class FewerModes(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"


class MoreModes(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"
    DISABLED = "off"
    DREAMT = "dreamt"


class WithoutZero:
    def items(self) -> list[tuple[str, int]]:
        return [("MODE_ENFORCE", 1)]


class OfTwoPrefixes:
    def items(self) -> list[tuple[str, int]]:
        return [("MODE_UNSPECIFIED", 0), ("MODE_ENFORCE", 1), ("STATE_SHADOW", 2)]


def test_each_member_goes_to_its_number_and_back() -> None:
    table = enum_table(pb.LimitKind, LimitKind)
    assert set(table.numbers) == set(LimitKind)
    assert table.numbers[LimitKind.BURN_RATE] == pb.LIMIT_KIND_BURN_RATE
    assert all(table.members[number] is member for member, number in table.numbers.items())


def test_a_member_is_found_by_its_name_and_not_by_its_value() -> None:
    assert enum_table(pb.QuotaPolicy.Mode, Mode).members[pb.QuotaPolicy.MODE_DISABLED] is Mode.DISABLED


def test_the_unspecified_number_is_no_member_unless_it_is_given_one() -> None:
    assert pb.QuotaPolicy.MODE_UNSPECIFIED not in enum_table(pb.QuotaPolicy.Mode, Mode).members
    table = enum_table(pb.QuotaPolicy.Mode, Mode, unspecified=Mode.ENFORCE)
    assert table.members[pb.QuotaPolicy.MODE_UNSPECIFIED] is Mode.ENFORCE
    assert table.numbers[Mode.ENFORCE] == pb.QuotaPolicy.MODE_ENFORCE


def test_a_request_with_a_number_that_only_a_later_release_knows_is_refused_by_its_field() -> None:
    table = enum_table(pb.QuotaPolicy.Mode, Mode, unspecified=Mode.ENFORCE)
    assert table.read("mode", pb.QuotaPolicy.MODE_UNSPECIFIED, "mode") is Mode.ENFORCE
    with pytest.raises(InvalidInput, match="99 is not a known mode") as caught:
        table.read("policies[2].mode", 99, "mode")
    assert caught.value.field == "policies[2].mode"


def test_a_number_without_a_member_is_refused() -> None:
    with pytest.raises(TypeError, match="FewerModes and its protobuf enum differ in DISABLED"):
        enum_table(pb.QuotaPolicy.Mode, FewerModes)


def test_a_member_without_a_number_is_refused() -> None:
    with pytest.raises(TypeError, match="MoreModes and its protobuf enum differ in DREAMT"):
        enum_table(pb.QuotaPolicy.Mode, MoreModes)


@pytest.mark.parametrize("malformed", [WithoutZero(), OfTwoPrefixes()])
def test_an_enum_without_a_zero_or_with_two_prefixes_is_refused(malformed: WithoutZero | OfTwoPrefixes) -> None:
    with pytest.raises(TypeError, match="PREFIX_UNSPECIFIED"):
        enum_names(malformed)


def test_names_for_people_leave_out_the_prefix_and_the_unspecified_number() -> None:
    assert enum_names(pb.VirtualKey.State) == {
        pb.VirtualKey.STATE_ACTIVE: "active",
        pb.VirtualKey.STATE_DISABLED: "disabled",
        pb.VirtualKey.STATE_EXPIRED: "expired",
        pb.VirtualKey.STATE_WITHOUT_SECRET: "without_secret",
        pb.VirtualKey.STATE_UNBOUNDED: "unbounded",
    }
    assert enum_numbers(pb.Threshold.Action) == {
        "notify": pb.Threshold.ACTION_NOTIFY,
        "degrade": pb.Threshold.ACTION_DEGRADE,
        "deny": pb.Threshold.ACTION_DENY,
    }
