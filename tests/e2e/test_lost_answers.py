"""Answers that get lost: a service dies right behind its commit, or the connection breaks before the answer.

The command line asks again, so its user sees nothing of it, and nothing is changed twice.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.type.v1 import attribution_pb2

from services.cli.gateway import Gateway as AdminPlane
from services.cli.gateway_address import find_gateway
from tests.worlds.cutting_proxy import CuttingProxy
from tests.worlds.deadly_commits import DeadlyCommits
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CONFIGURATION: dict[str, Any] = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "teams": {"ds": {}},
    "policies": [{"name": "ds", "match": {"team": "ds"}, "limits": [{"spend": 7, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds"}],
}


class Doomed:
    """A gateway whose services die when told to."""

    def __init__(self, gateway: Gateway, deadly: DeadlyCommits) -> None:
        self.gateway = gateway
        self._deadly = deadly

    @contextlib.contextmanager
    def dies_behind_its_commit(self, name: str) -> Iterator[None]:
        """Within the block the service is killed right behind the next commit, and is another process at its end."""
        before = self.gateway.pids()[name]
        self._deadly.order(name)
        yield
        assert self._deadly.is_done, f"{name} committed nothing"
        assert self.gateway.pids()[name] != before

    def rows(self, query: str, database: str = "quota") -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.gateway.data_dir / "db" / f"{database}.sqlite")) as connection:
            return connection.execute(query).fetchall()

    def entries(self, action: str, database: str = "quota") -> int:
        return len([row for row in self.rows("SELECT action FROM audit_entries", database) if row == (action,)])

    def status_with(self, secret: str) -> int:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
        return self.gateway.http(secret).post("/v1/chat/completions", json=body).status_code


@pytest.fixture(scope="module")
def doomed(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doomed]:
    folder = tmp_path_factory.mktemp("lost")
    deadly = DeadlyCommits(folder)
    with run_gateway(folder, CONFIGURATION, vendors, environment=deadly.environment) as running:
        yield Doomed(running, deadly)


def test_a_key_whose_creation_killed_quota_is_shown_with_a_secret_that_works(doomed: Doomed) -> None:
    entries = doomed.entries("create")
    with doomed.dies_behind_its_commit("quota"):
        made = doomed.gateway.json("keys", "create", "lost", "--team", "ds", "--reason", "a new service")

    assert doomed.status_with(made["secret"]) == 200
    assert doomed.rows("SELECT count(*) FROM virtual_keys WHERE name = 'lost'") == [(1,)]
    assert doomed.entries("create") == entries + 1


def test_a_rotation_that_killed_quota_happened_once_and_its_secret_works(doomed: Doomed) -> None:
    first = doomed.gateway.json("keys", "create", "turned", "--team", "ds")["secret"]
    with doomed.dies_behind_its_commit("quota"):
        second = doomed.gateway.json("keys", "rotate", "turned")["secret"]

    assert (doomed.status_with(second), doomed.status_with(first)) == (200, 401)
    assert doomed.entries("rotate") == 1


def test_an_admin_token_whose_creation_killed_quota_opens_the_admin_plane(doomed: Doomed) -> None:
    with doomed.dies_behind_its_commit("quota"):
        made = doomed.gateway.json("tokens", "create", "cfo", "--role", "finance", "--expires", "1d")

    done = doomed.gateway.run("budgets", "--json", environment={"SPENDGATE_TOKEN": made["secret"]})
    assert done.returncode == 0, done.stderr


def test_an_override_whose_grant_killed_quota_is_granted_once(doomed: Doomed) -> None:
    with doomed.dies_behind_its_commit("quota"):
        made = doomed.gateway.json("overrides", "grant", "ds", "--usd", "9", "--until", "1h", "--reason", "launch")

    assert [each["name"] for each in doomed.gateway.json("overrides", "list")["overrides"]] == [made["name"]]
    assert doomed.entries("grant") == 1


@pytest.mark.parametrize("name", ["ledger", "router", "quota"])
def test_a_configuration_that_killed_a_service_is_applied_once_and_its_changes_are_told(
    doomed: Doomed, tmp_path: Path, name: str, vendors: Providers
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "ledger": {"prices": {"openai/tiny": {"input": 2, "output": 20}}},
        "router": {"models": {"tiny": {"targets": ["openai/tiny"]}, "other": {"targets": ["openai/tiny"]}}},
        "quota": {"teams": {"ds": {}, "marketing": {}}},
    }
    document = {
        "version": 1,
        "organization": "acme",
        **CONFIGURATION,
        "providers": vendors.configuration,
        **changes[name],
    }
    document["keys"] = [{"name": "app", "team": "ds", "secret": {"env": "KEY_APP"}}]
    file = tmp_path / "spendgate.yaml"
    file.write_text(json.dumps(document))
    services = ("ledger", "router", "quota")
    before = sum(len(doomed.rows("SELECT 1 FROM audit_entries", each)) for each in services)

    with doomed.dies_behind_its_commit(name):
        done = doomed.gateway.run("apply", "-f", str(file), "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["changes"]
    assert told
    assert sum(len(doomed.rows("SELECT 1 FROM audit_entries", each)) for each in services) == before + len(told)


def test_a_connection_that_breaks_twice_before_the_answer_is_not_noticed(doomed: Doomed) -> None:
    entries = doomed.entries("create")
    with CuttingProxy(doomed.gateway.admin, answers=2) as proxy:
        to_proxy = {"SPENDGATE_ADMIN": proxy.address}
        done = doomed.gateway.run("keys", "create", "cut", "--team", "ds", "--json", environment=to_proxy)

    assert done.returncode == 0, done.stderr
    assert proxy.answers_left == 0
    assert doomed.status_with(json.loads(done.stdout)["secret"]) == 200
    assert doomed.rows("SELECT count(*) FROM virtual_keys WHERE name = 'cut'") == [(1,)]
    assert doomed.entries("create") == entries + 1


def test_over_rest_a_repetition_gets_the_same_secret_and_nobody_else_gets_it(doomed: Doomed) -> None:
    token = (doomed.gateway.data_dir / "admin-token").read_text().strip()
    eve = doomed.gateway.json("tokens", "create", "eve", "--role", "platform", "--expires", "1d")["secret"]
    body = {"virtualKey": {"name": "rest", "attribution": {"team": "ds"}}, "requestId": str(uuid.uuid4())}

    def post(credential: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {credential}"}
        answer = httpx.post(f"http://{doomed.gateway.admin}/v1/virtualKeys", json=body, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    first = post(token)
    assert first[0] == 200, first
    assert post(token) == first
    status, refusal = post(eve)
    assert (status, refusal["message"].startswith(f"request_id: {body['requestId']} belongs to another")) == (400, True)
    assert first[1]["secret"] not in json.dumps(refusal)
    assert doomed.status_with(first[1]["secret"]) == 200


def test_a_client_that_repeats_by_hand_is_served_by_the_next_process(doomed: Doomed) -> None:
    """As a Terraform provider would: it sees the loss, waits, and sends the same message."""
    gateway = doomed.gateway
    attribution = attribution_pb2.Attribution(team="ds")
    request = pb.CreateVirtualKeyRequest(
        virtual_key=pb.VirtualKey(name="terraform", attribution=attribution), request_id=str(uuid.uuid4())
    )
    token = (gateway.data_dir / "admin-token").read_text().strip()
    with (
        grpc.insecure_channel(gateway.admin, options=[("grpc.enable_http_proxy", 0)]) as channel,
        AdminPlane(find_gateway(gateway.admin, gateway.data_dir, {})) as plane,
    ):
        create = channel.unary_unary(
            "/spendgate.quota.v1.QuotaService/CreateVirtualKey",
            request_serializer=pb.CreateVirtualKeyRequest.SerializeToString,
            response_deserializer=pb.CreateVirtualKeyResponse.FromString,
        )
        with doomed.dies_behind_its_commit("quota"):
            with pytest.raises(grpc.RpcError) as lost:
                create(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)
            assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
            answer = plane.quota.CreateVirtualKey(request)

    assert doomed.status_with(answer.secret) == 200
