"""Get methods of quota: each shows what its list shows, to the same people, and nothing else exists for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from spendgate.quota.v1 import admin_service_pb2 as admin_pb
from spendgate.quota.v1 import admin_service_pb2_grpc, doubt_service_pb2_grpc, override_service_pb2_grpc
from spendgate.quota.v1 import doubt_service_pb2 as doubts_pb
from spendgate.quota.v1 import override_service_pb2 as override_pb
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2 as reservation_pb
from spendgate.type.v1 import role_pb2

from services.kernel.envoy_contract import ACTOR_HEADER
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
)

LEAD = ((ACTOR_HEADER, "team-admin:data-science:lead"),)
STRANGER = ((ACTOR_HEADER, "team-admin:marketing:stranger"),)
FINANCE = ((ACTOR_HEADER, "finance::cfo"),)


@dataclass(frozen=True)
class Kind:
    """One kind of resource: how to get one by its name, and how to list all."""

    name: str
    """Of one that exists and belongs to the team data-science."""
    get: Callable[..., Any]
    list: Callable[..., Any]


class World:
    """A quota with one resource of each kind, of the team data-science. Another team has a key alone."""

    def __init__(self, quota: QuotaProcess) -> None:
        self.quota = quota
        admin = admin_service_pb2_grpc.AdminServiceStub(quota.admin_channel)
        overrides = override_service_pb2_grpc.OverrideServiceStub(quota.admin_channel)
        doubts = doubt_service_pb2_grpc.DoubtServiceStub(quota.admin_channel)
        sent = configuration(
            spend_policy("ds-spend", 1),
            keys=[key_in("data-science"), key_in("marketing", "mk", "m" * 24, unlimited=True)],
        )
        sent.teams.add(name="marketing")
        quota.quota.ApplyConfiguration(sent)
        token = admin_pb.AdminToken(name="ada", role=role_pb2.ROLE_FINANCE, expire_time=self.later(60_000))
        admin.CreateAdminToken(admin_pb.CreateAdminTokenRequest(admin_token=token))
        granted = override_pb.Override(
            policy="ds-spend",
            amount=Money(currency_code="USD", units=2),
            expire_time=self.later(60_000),
            reason="a launch",
        )
        override = overrides.GrantOverride(override_pb.GrantOverrideRequest(override=granted)).override
        self.kinds = {
            "team": Kind(
                "data-science",
                lambda name, by: quota.quota.GetTeam(pb.GetTeamRequest(name=name), metadata=by).team,
                lambda by: quota.quota.ListTeams(pb.ListTeamsRequest(), metadata=by).teams,
            ),
            "quota policy": Kind(
                "ds-spend",
                lambda name, by: (
                    quota.quota.GetQuotaPolicy(pb.GetQuotaPolicyRequest(name=name), metadata=by).quota_policy
                ),
                lambda by: quota.quota.ListQuotaPolicies(pb.ListQuotaPoliciesRequest(), metadata=by).quota_policies,
            ),
            "virtual key": Kind(
                "ds-prod",
                lambda name, by: quota.quota.GetVirtualKey(pb.GetVirtualKeyRequest(name=name), metadata=by).virtual_key,
                lambda by: quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest(), metadata=by).virtual_keys,
            ),
            "admin token": Kind(
                "ada",
                lambda name, by: admin.GetAdminToken(admin_pb.GetAdminTokenRequest(name=name), metadata=by).admin_token,
                lambda by: admin.ListAdminTokens(admin_pb.ListAdminTokensRequest(), metadata=by).admin_tokens,
            ),
            "override": Kind(
                override.name,
                lambda name, by: overrides.GetOverride(override_pb.GetOverrideRequest(name=name), metadata=by).override,
                lambda by: overrides.ListOverrides(override_pb.ListOverridesRequest(), metadata=by).overrides,
            ),
            "doubt": Kind(
                self.doubtful_call(),
                lambda name, by: doubts.GetDoubt(doubts_pb.GetDoubtRequest(reservation=name), metadata=by).doubt,
                lambda by: doubts.ListDoubts(doubts_pb.ListDoubtsRequest(), metadata=by).doubts,
            ),
        }

    def later(self, span_ms: int) -> Timestamp:
        moment = Timestamp()
        moment.FromMilliseconds(self.quota.clock.now_ms() + span_ms)
        return moment

    def doubtful_call(self) -> str:
        """A call that nobody measured."""
        reservation = str(self.quota.check(call()).dynamic_metadata.fields["reservation"].string_value)
        settled = reservation_pb.Settlement(
            reservation=reservation,
            cost_nano_usd=10_000,
            input_tokens=50,
            output_tokens=10,
            end_time=self.later(0),
            most=reservation_pb.Most(cost_nano_usd=-1, input_tokens=-1, output_tokens=-1),
        )
        self.quota.reservations.SettleReservations(reservation_pb.SettleReservationsRequest(settlements=[settled]))
        return reservation


KINDS = ("team", "quota policy", "virtual key", "admin token", "override", "doubt")
OF_A_TEAM = tuple(kind for kind in KINDS if kind != "admin token")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        yield World(process)


def refusal(ask: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        ask()
    error: Any = refused.value
    return error.code(), error.details()


def name_in(resource: Any) -> str:
    return str(getattr(resource, "name", "") or resource.reservation)


@pytest.mark.parametrize("kind", KINDS)
def test_get_shows_what_the_list_shows(world: World, kind: str) -> None:
    it = world.kinds[kind]
    (listed,) = [each for each in it.list(FINANCE) if name_in(each) == it.name]

    assert it.get(it.name, FINANCE) == listed


@pytest.mark.parametrize("kind", OF_A_TEAM)
def test_a_team_admin_gets_what_its_list_shows(world: World, kind: str) -> None:
    it = world.kinds[kind]

    assert [name_in(each) for each in it.list(LEAD)] == [it.name]
    assert it.get(it.name, LEAD) == it.get(it.name, FINANCE)


@pytest.mark.parametrize("kind", OF_A_TEAM)
def test_what_belongs_to_another_team_looks_like_what_does_not_exist(world: World, kind: str) -> None:
    it = world.kinds[kind]
    absent = it.name[:-1] + ("x" if it.name[-1] != "x" else "y")

    code, told = refusal(lambda: it.get(it.name, STRANGER))
    assert code is grpc.StatusCode.NOT_FOUND
    assert refusal(lambda: it.get(absent, STRANGER)) == (code, told.replace(it.name, absent))
    # A name that is nearly right does not lead to it either.
    assert it.name not in refusal(lambda: it.get(absent, STRANGER))[1]


@pytest.mark.parametrize(
    ("kind", "meant", "told"),
    [
        ("team", "data-sciense", "there is no team 'data-sciense': did you mean 'data-science'?"),
        ("quota policy", "ds-spent", "there is no policy 'ds-spent': did you mean 'ds-spend'?"),
        ("virtual key", "ds-prud", "there is no virtual key 'ds-prud': did you mean 'ds-prod'?"),
        ("admin token", "adda", "there is no admin token 'adda': did you mean 'ada'?"),
    ],
)
def test_a_name_that_is_nearly_right_is_corrected(world: World, kind: str, meant: str, told: str) -> None:
    assert refusal(lambda: world.kinds[kind].get(meant, FINANCE)) == (grpc.StatusCode.NOT_FOUND, told)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "r", "rsv_", "z", "rsv_z", "\N{SNOWMAN}", "x" * 5_000, "../../etc", "%00"])
def test_no_name_makes_get_fail_or_find_another(world: World, kind: str, name: str) -> None:
    code, told = refusal(lambda: world.kinds[kind].get(name, FINANCE))

    assert code is grpc.StatusCode.NOT_FOUND
    assert len(told) < 400


def test_the_doubt_of_one_call_among_many_is_found_and_gone_once_cleared(world: World) -> None:
    before, it = [world.doubtful_call() for _ in range(5)], world.kinds["doubt"]

    assert [it.get(reservation, FINANCE).reservation for reservation in before] == before
    doubt_service_pb2_grpc.DoubtServiceStub(world.quota.admin_channel).ClearDoubts(
        doubts_pb.ClearDoubtsRequest(reservations=before[1:2], reason="the console shows nothing")
    )
    code, told = refusal(lambda: it.get(before[1], FINANCE))
    assert (code, told.startswith(f"no call {before[1]!r} is in doubt")) == (grpc.StatusCode.NOT_FOUND, True)
    assert it.get(before[2], FINANCE).reservation == before[2]
    doubt_service_pb2_grpc.DoubtServiceStub(world.quota.admin_channel).ClearDoubts(
        doubts_pb.ClearDoubtsRequest(reservations=before, reason="the console shows nothing")
    )


def test_a_policy_carries_its_status_and_the_status_that_a_client_sends_is_ignored() -> None:
    with QuotaProcess() as quota:
        quota.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        sent = configuration(spend_policy("status", 1))
        sent.policies[0].status.state = pb.PolicyStatus.STATE_DISABLED
        sent.policies[0].status.matched_calls = 99
        quota.quota.ApplyConfiguration(sent)
        quota.check(call())

        status = quota.quota.GetQuotaPolicy(pb.GetQuotaPolicyRequest(name="status")).quota_policy.status

        assert (status.state, status.matched_calls) == (pb.PolicyStatus.STATE_ACTIVE, 1)
        assert status.last_matched_time.ToMilliseconds() == quota.clock.now_ms()
        # What was read can be sent again as it is.
        sent.policies[0].CopyFrom(quota.quota.GetQuotaPolicy(pb.GetQuotaPolicyRequest(name="status")).quota_policy)
        assert not quota.quota.ApplyConfiguration(sent).changes
