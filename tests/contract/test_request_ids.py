"""`request_id` on the wire: which RPCs take it, what is refused, and that a repetition gets the first answer."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.api import annotations_pb2, field_info_pb2
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2, status_pb2
from spendgate.quota.v1 import admin_service_pb2 as admin_pb
from spendgate.quota.v1 import admin_service_pb2_grpc, doubt_service_pb2_grpc, override_service_pb2_grpc
from spendgate.quota.v1 import doubt_service_pb2 as doubt_pb
from spendgate.quota.v1 import override_service_pb2 as override_pb
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.type.v1 import attribution_pb2, role_pb2

from services.chassis.well_known import usd
from services.kernel.envoy_contract import ACTOR_HEADER
from services.kernel.money import NANO_PER_USD
from services.quota.transport.admin_methods import ADMIN_SERVICES
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    planned_target,
    route_plan,
    spend_policy,
)

DAY_MS = 86_400_000
PLATFORM = ((ACTOR_HEADER, "platform::root"), ("x-request-id", "req-1"))
EVE = ((ACTOR_HEADER, "platform::eve"), ("x-request-id", "req-2"))
LEAD = ((ACTOR_HEADER, "team-admin:data-science:lead"),)
KEY = pb.VirtualKey(name="ci", attribution=attribution_pb2.Attribution(team="data-science", environment="prod"))


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        process.quota.ApplyConfiguration(configuration(spend_policy("monthly", 50)))
        yield process


def new_id() -> str:
    return str(uuid.uuid4())


def refused(ask: Callable[[], Any]) -> tuple[grpc.StatusCode, list[str], str]:
    """The code, the fields that the error names, and its text."""
    with pytest.raises(grpc.RpcError) as raised:
        ask()
    error: Any = raised.value
    found = error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"]).details:
        detail.Unpack(found)
    return error.code(), [each.field for each in found.field_violations], error.details()


CHANGE_NOTHING = {"TestProvider", "TestAlertChannel"}
"""A call that costs somebody something is no GET, and changes nothing here."""
SAME_AGAIN = {"RetryDelivery"}
"""A repetition asks for the same: an alert that has arrived is never sent again."""


def changing_methods() -> Iterator[tuple[str, Descriptor]]:
    """The RPCs behind the admin listener that REST reaches by another verb than GET."""
    for service in ADMIN_SERVICES:
        for method in service.methods:
            rule: Any = method.GetOptions().Extensions[annotations_pb2.http]
            changes = rule.WhichOneof("pattern") not in {None, "get"} and method.name not in CHANGE_NOTHING | SAME_AGAIN
            if changes:
                yield f"{service.name}.{method.name}", method.input_type


def test_every_change_can_be_repeated_and_says_that_it_takes_a_random_uuid() -> None:
    found = dict(changing_methods())

    assert {"QuotaService.CreateVirtualKey", "RouterService.ApplyConfiguration", "DoubtService.ClearDoubts"} <= set(
        found
    )
    for name, request in found.items():
        field = request.fields_by_name.get("request_id")
        assert field is not None, name
        info: Any = field.GetOptions().Extensions[field_info_pb2.field_info]
        assert info.format == field_info_pb2.FieldInfo.UUID4, name
    assert len({request.full_name for request in found.values()}) == len(found)


class Changes:
    """One request for each RPC of quota that changes something."""

    def __init__(self, quota: QuotaProcess) -> None:
        self.quota = quota
        admin = admin_service_pb2_grpc.AdminServiceStub(quota.admin_channel)
        override = override_service_pb2_grpc.OverrideServiceStub(quota.admin_channel)
        doubts = doubt_service_pb2_grpc.DoubtServiceStub(quota.admin_channel)
        token = admin_pb.AdminToken(name="lead", role=role_pb2.ROLE_TEAM_ADMIN, team="data-science")
        token.expire_time.FromMilliseconds(quota.clock.now_ms() + DAY_MS)
        grant = override_pb.Override(policy="monthly", amount=usd(60 * NANO_PER_USD), reason="launch")
        grant.expire_time.FromMilliseconds(quota.clock.now_ms() + DAY_MS)
        self.calls: list[tuple[Callable[..., Any], Any]] = [
            (quota.quota.ApplyConfiguration, configuration(spend_policy("monthly", 49))),
            (quota.quota.CreateVirtualKey, pb.CreateVirtualKeyRequest(virtual_key=KEY)),
            (quota.quota.RotateVirtualKey, pb.RotateVirtualKeyRequest(name="ci")),
            (quota.quota.DisableVirtualKey, pb.DisableVirtualKeyRequest(name="ci")),
            (quota.quota.EnableVirtualKey, pb.EnableVirtualKeyRequest(name="ci")),
            (admin.CreateAdminToken, admin_pb.CreateAdminTokenRequest(admin_token=token)),
            (admin.RevokeAdminToken, admin_pb.RevokeAdminTokenRequest(name="lead")),
            (override.GrantOverride, override_pb.GrantOverrideRequest(override=grant)),
            (doubts.ClearDoubts, doubt_pb.ClearDoubtsRequest(policy="monthly", reason="billed")),
        ]

    def revoke(self) -> tuple[Callable[..., Any], Any]:
        stub = override_service_pb2_grpc.OverrideServiceStub(self.quota.admin_channel)
        (granted,) = stub.ListOverrides(override_pb.ListOverridesRequest()).overrides
        return stub.RevokeOverride, override_pb.RevokeOverrideRequest(name=granted.name)

    def log(self) -> admin_pb.ListAuditEntriesResponse:
        stub = admin_service_pb2_grpc.AdminServiceStub(self.quota.admin_channel)
        return stub.ListAuditEntries(admin_pb.ListAuditEntriesRequest(page_size=1_000))

    def entries(self) -> int:
        return len(self.log().audit_entries)


def test_each_repeated_change_gets_the_first_answer_and_leaves_no_second_audit_entry(quota: QuotaProcess) -> None:
    changes = Changes(quota)
    for send, request in [*changes.calls, (None, None)]:
        send, request = (send, request) if send else changes.revoke()  # noqa: PLW2901  (its name is known only now)
        request.request_id = new_id()
        answer = send(request, metadata=PLATFORM)
        entries = changes.entries()
        quota.clock.advance(1_000)

        request.request_id = request.request_id.upper()
        assert send(request, metadata=(*PLATFORM[:1], ("x-request-id", "req-9"))) == answer, request
        assert changes.entries() == entries, request


def test_the_audit_log_does_not_show_the_id_by_which_a_secret_could_be_asked_for_again(quota: QuotaProcess) -> None:
    changes = Changes(quota)
    given = []
    for send, request in changes.calls:
        given.append(new_id())
        request.request_id = given[-1]
        send(request, metadata=PLATFORM)

    log = changes.log()

    assert {entry.request_id for entry in log.audit_entries} >= {"req-1"}
    assert [each for each in given if each in str(log)] == []


@pytest.mark.parametrize("text", ["1", "00000000-0000-0000-0000-000000000000", "é" * 36])
def test_each_change_refuses_what_is_no_random_uuid_and_changes_nothing(quota: QuotaProcess, text: str) -> None:
    changes = Changes(quota)
    before = changes.entries()
    for send, request in changes.calls:
        request.request_id = text
        code, fields, _ = refused(lambda send=send, request=request: send(request, metadata=PLATFORM))  # type: ignore[misc]
        assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request_id"]), request
    assert changes.entries() == before


def test_a_key_created_before_a_restart_is_answered_after_it_and_its_secret_opens(quota: QuotaProcess) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=KEY, request_id=new_id(), reason="a new service")
    minted = quota.quota.CreateVirtualKey(request, metadata=PLATFORM)

    quota.restart()
    again = quota.quota.CreateVirtualKey(request, metadata=PLATFORM)

    assert again == minted
    assert quota.check(call(secret=again.secret)).status.code == 0


def test_somebody_who_saw_the_id_is_told_nothing_but_that_it_is_in_use(quota: QuotaProcess) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=KEY, request_id=new_id())
    minted = quota.quota.CreateVirtualKey(request, metadata=PLATFORM)

    for thief in (EVE, LEAD):
        code, fields, text = refused(lambda thief=thief: quota.quota.CreateVirtualKey(request, metadata=thief))  # type: ignore[misc]
        assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request_id"])
        assert (
            text == f"request_id: {request.request_id} belongs to another request of the last 24 hours: make a new one"
        )
        assert minted.secret not in text


@pytest.mark.parametrize(
    "other",
    [
        pb.CreateVirtualKeyRequest(virtual_key=KEY, reason="another"),
        pb.CreateVirtualKeyRequest(virtual_key=pb.VirtualKey(name="cd", attribution=KEY.attribution)),
        pb.CreateVirtualKeyRequest(virtual_key=KEY, secret_kind=pb.SECRET_KIND_TEST),
    ],
)
def test_the_same_id_with_other_content_is_refused(quota: QuotaProcess, other: pb.CreateVirtualKeyRequest) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=KEY, request_id=new_id())
    quota.quota.CreateVirtualKey(request, metadata=PLATFORM)
    other.request_id = request.request_id

    code, fields, _ = refused(lambda: quota.quota.CreateVirtualKey(other, metadata=PLATFORM))

    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request_id"])


def test_the_same_id_with_another_method_is_refused_though_the_bytes_are_the_same(quota: QuotaProcess) -> None:
    quota.quota.CreateVirtualKey(pb.CreateVirtualKeyRequest(virtual_key=KEY), metadata=PLATFORM)
    disabling = pb.DisableVirtualKeyRequest(name="ci", request_id=new_id())
    quota.quota.DisableVirtualKey(disabling, metadata=PLATFORM)
    enabling = pb.EnableVirtualKeyRequest(name="ci", request_id=disabling.request_id)
    assert enabling.SerializeToString() == disabling.SerializeToString()

    assert refused(lambda: quota.quota.EnableVirtualKey(enabling, metadata=PLATFORM))[1] == ["request_id"]


def test_after_a_rotation_the_first_answer_is_out_of_date(quota: QuotaProcess) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=KEY, request_id=new_id())
    quota.quota.CreateVirtualKey(request, metadata=PLATFORM)
    quota.quota.RotateVirtualKey(pb.RotateVirtualKeyRequest(name="ci"), metadata=PLATFORM)

    code, _, text = refused(lambda: quota.quota.CreateVirtualKey(request, metadata=PLATFORM))

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith("virtual key ci was replaced or removed after this request first came")


def test_a_day_later_the_name_is_taken(quota: QuotaProcess) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=KEY, request_id=new_id())
    quota.quota.CreateVirtualKey(request, metadata=PLATFORM)
    quota.clock.advance(DAY_MS)

    assert (
        refused(lambda: quota.quota.CreateVirtualKey(request, metadata=PLATFORM))[0] is grpc.StatusCode.ALREADY_EXISTS
    )


def test_without_an_id_nothing_is_remembered(quota: QuotaProcess) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=KEY)
    quota.quota.CreateVirtualKey(request, metadata=PLATFORM)

    assert (
        refused(lambda: quota.quota.CreateVirtualKey(request, metadata=PLATFORM))[0] is grpc.StatusCode.ALREADY_EXISTS
    )
    database = b"".join(path.read_bytes() for path in (quota.folder / "db").glob("quota.sqlite*"))
    assert b"CreateVirtualKeyRequest" not in database


def test_the_database_holds_neither_a_secret_nor_a_digest_by_which_to_guess_one(quota: QuotaProcess) -> None:
    applying = configuration(spend_policy("monthly", 49))
    plain = hashlib.sha256(applying.SerializeToString(deterministic=True)).digest()
    applying.request_id = new_id()
    quota.quota.ApplyConfiguration(applying, metadata=PLATFORM)
    creating = pb.CreateVirtualKeyRequest(virtual_key=KEY, request_id=new_id())
    minted = quota.quota.CreateVirtualKey(creating, metadata=PLATFORM)

    database = b"".join(path.read_bytes() for path in (quota.folder / "db").glob("quota.sqlite*"))

    assert applying.request_id.encode() in database
    assert plain not in database
    assert minted.secret.encode() not in database
    assert minted.secret[9:41].encode() not in database
