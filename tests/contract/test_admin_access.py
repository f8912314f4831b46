"""Who may call what on the admin plane: every RPC that Envoy routes there is in the one table, by gRPC and by REST."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from services.kernel.change import Actor, Role
from services.kernel.errors import PermissionDenied
from services.quota.domain.identity.access import ACCESS, Access, check_access
from services.quota.transport.admin_methods import ADMIN_SERVICES, method_of
from services.router.adapters import envoy_resources_admin

METHODS = [method for service in ADMIN_SERVICES for method in service.methods]
READS = re.compile("List|Get|Query|Tail|Explain|Simulate")


def name_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def may(role: Role, method: str) -> bool:
    try:
        check_access(Actor("someone", role, "ds" if role is Role.TEAM_ADMIN else ""), method)
    except PermissionDenied:
        return False
    return True


def test_the_table_knows_every_service_that_envoy_routes_and_no_other() -> None:
    routed = envoy_resources_admin.SERVICES | envoy_resources_admin.TOOLS

    assert {service.full_name for service in ADMIN_SERVICES} == set(envoy_resources_admin.SERVICES)
    assert {method.split("/")[1] for method in ACCESS} == set(routed)


def test_every_rpc_of_the_admin_services_is_in_the_table_and_nothing_else_of_theirs() -> None:
    ours = {method for method in ACCESS if method.startswith("/spendgate.")}

    assert {name_of(method) for method in METHODS} == ours


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_what_only_reads_is_for_finance_and_what_changes_is_not(method: MethodDescriptor) -> None:
    assert may(Role.FINANCE, name_of(method)) is bool(READS.match(method.name))
    assert may(Role.PLATFORM, name_of(method))


# What streams from the client has no REST form.
WITH_REST = [method for method in METHODS if method.GetOptions().HasExtension(annotations_pb2.http)]


@pytest.mark.parametrize("method", WITH_REST, ids=name_of)
def test_a_rest_call_is_judged_as_the_rpc_that_it_becomes(method: MethodDescriptor) -> None:
    rule: Any = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    path = re.sub(r"\{\w+\}", "some-name.1", getattr(rule, verb))
    path = re.sub(r"\{\w+=\*\*\}", "lab/tiny:8b", path)

    assert method_of(verb.upper(), f"{path}?page_size=3") == name_of(method)
    assert method_of("POST", name_of(method)) == name_of(method)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/spendgate.quota.v1.QuotaService/Unheard"),
        ("POST", "/spendgate.quota.v1.ReservationService/SettleReservations"),
        ("POST", "/v1/quota%3Aapply"),
        ("POST", "/v1/virtualKeys/a/b:rotate"),
        ("DELETE", "/v1/teams"),
        ("GET", "/v1/teams/"),
        ("GET", "/v1/providers/a/b"),
        ("GET", "/v1/providers/a:b"),
        ("GET", "/v1/modelRoutes/"),
        ("POST", "/v1/modelRoutes/tiny"),
        ("GET", "//v1/teams"),
        ("GET", "/"),
    ],
)
def test_what_is_not_known_is_for_the_platform_alone(verb: str, path: str) -> None:
    method = method_of(verb, path)

    assert may(Role.PLATFORM, method)
    assert not may(Role.FINANCE, method)
    assert not may(Role.TEAM_ADMIN, method)


def test_one_resource_is_for_those_who_may_list_all() -> None:
    listed = {}
    for method in METHODS:
        stem = method.name.removeprefix("Get")
        for plural in (f"List{stem}s", f"List{stem.removesuffix('y')}ies"):
            if stem != method.name and plural in method.containing_service.methods_by_name:
                listed[method.name] = (
                    ACCESS[name_of(method)],
                    ACCESS[f"{name_of(method).rpartition('/')[0]}/{plural}"],
                )

    assert {"GetProvider", "GetModel", "GetCall"} <= listed.keys()
    assert {name: access for name, access in listed.items() if access[0] is not access[1]} == {}


def test_a_team_admin_changes_keys_and_overrides_alone() -> None:
    changed = {method.rpartition("/")[2] for method, access in ACCESS.items() if access is Access.TEAM_WRITE}

    assert changed == {
        "CreateVirtualKey",
        "RotateVirtualKey",
        "DisableVirtualKey",
        "EnableVirtualKey",
        "GrantOverride",
        "RevokeOverride",
    }


def test_a_refusal_says_whom_the_rpc_is_for() -> None:
    with pytest.raises(PermissionDenied, match="admin token bob has role finance: CreateVirtualKey is for platform or"):
        check_access(Actor("bob", Role.FINANCE), "/spendgate.quota.v1.QuotaService/CreateVirtualKey")
    with pytest.raises(PermissionDenied, match=r"this is for platform$"):
        check_access(Actor("bob", Role.FINANCE), "/unheard/Of")
