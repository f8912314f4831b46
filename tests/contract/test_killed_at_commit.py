"""Each service dies by kill -9 between commit and answer. The command line's client gets the answer all the same."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from spendgate.ledger.v1 import ledger_service_pb2 as ledger_pb
from spendgate.quota.v1 import admin_service_pb2 as admin_pb
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.router.v1 import router_service_pb2 as router_pb
from spendgate.type.v1 import attribution_pb2, dialect_pb2, role_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2_grpc

from services.chassis.installed import envoy_files
from services.cli.gateway import Gateway
from services.cli.gateway_address import GatewayAddress
from services.kernel.envoy_contract import Socket
from tests.worlds.deadly_commits import DeadlyCommits
from tests.worlds.ports import free_port
from tests.worlds.quota_process import call, configuration, spend_policy

PATIENCE_S = 20
KEY = pb.VirtualKey(name="ci", attribution=attribution_pb2.Attribution(team="data-science", environment="prod"))
SOCKETS = {"quota": Socket.QUOTA_ADMIN, "router": Socket.ROUTER, "ledger": Socket.LEDGER}


class Watched:
    """A service that is started again whenever it dies."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.deadly = DeadlyCommits(folder)
        self.starts = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive)
        self._start()
        self._thread.start()

    @contextmanager
    def plane(self) -> Iterator[Gateway]:
        """The command line's client, on the service's own socket."""
        address = f"unix:{self.folder}/run/{SOCKETS[self.name]}"
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(PATIENCE_S)
        with Gateway(GatewayAddress(address, "")) as gateway:
            yield gateway

    def count(self, table: str, name: str = "") -> int:
        """How many rows there are; with `name` only those of that name."""
        with closing(sqlite3.connect(self.folder / "db" / f"{self.name}.sqlite")) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  (a table that this file names)
            return len([row for row in rows if not name or row["name"] == name])

    def close(self) -> None:
        self._closing.set()
        self._process.kill()
        self._thread.join()

    def _keep_alive(self) -> None:
        while not self._closing.is_set():
            self._process.wait()
            if not self._closing.is_set():
                self._start()
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        self.starts += 1
        environment = {
            **self.deadly.environment,
            "PATH": os.environ["PATH"],
            "SPENDGATE_DATA_DIR": str(self.folder),
            "SPENDGATE_LISTEN": f"127.0.0.1:{free_port()}",
            "SPENDGATE_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
            "SPENDGATE_ENVOY_FILES": str(envoy_files()),
        }
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", f"services.{self.name}.main"]
            self._process = subprocess.Popen(command, env=environment, cwd=self.folder, stderr=log)


@pytest.fixture
def service() -> Iterator[Callable[[str], Watched]]:
    # A socket's path may have 108 bytes, which pytest's own folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="k"))
    started: list[Watched] = []

    def start(name: str) -> Watched:
        started.append(Watched(folder, name))
        return started[0]

    yield start
    for each in started:
        each.close()
    shutil.rmtree(folder)


def status_with(quota: Watched, secret: str) -> int:
    question = call(path="/v1/budget", secret=secret)
    question.attributes.request.http.method = "GET"
    with grpc.insecure_channel(f"unix:{quota.folder}/run/{Socket.QUOTA}") as channel:
        stub = external_auth_pb2_grpc.AuthorizationStub(channel)
        answer: Any = stub.Check(question, wait_for_ready=True, timeout=PATIENCE_S)
        return int(answer.denied_response.status.code)


def test_a_key_whose_creation_and_rotation_killed_quota_has_the_secrets_that_the_client_gets(
    service: Callable[[str], Watched],
) -> None:
    quota = service("quota")
    with quota.plane() as plane:
        plane.quota.ApplyConfiguration(configuration(spend_policy("monthly", 50)))
        quota.deadly.order("quota")
        made = plane.quota.CreateVirtualKey(pb.CreateVirtualKeyRequest(virtual_key=KEY))
        assert quota.deadly.is_done
        assert (status_with(quota, made.secret), status_with(quota, made.secret[:-1])) == (200, 401)

        quota.deadly.order("quota")
        turned = plane.quota.RotateVirtualKey(pb.RotateVirtualKeyRequest(name="ci"))
        assert quota.deadly.is_done
        assert (status_with(quota, turned.secret), status_with(quota, made.secret)) == (200, 401)

    assert quota.starts == 3
    assert quota.count("virtual_keys", "ci") == 1
    assert quota.count("audit_entries", "ci") == 2
    assert quota.count("retired_secrets") == 1


def test_an_admin_token_whose_creation_killed_quota_is_made_once(service: Callable[[str], Watched]) -> None:
    quota = service("quota")
    token = admin_pb.AdminToken(name="cfo", role=role_pb2.ROLE_FINANCE)
    token.expire_time.GetCurrentTime()
    token.expire_time.seconds += 3_600
    with quota.plane() as plane:
        quota.deadly.order("quota")
        made = plane.administration.CreateAdminToken(admin_pb.CreateAdminTokenRequest(admin_token=token))

    assert quota.deadly.is_done
    assert made.secret.startswith("spa_")
    assert (quota.count("admin_tokens"), quota.count("audit_entries")) == (1, 1)


def test_a_configuration_that_killed_the_ledger_is_told_as_it_was_applied(service: Callable[[str], Watched]) -> None:
    ledger = service("ledger")
    channel = ledger_pb.AlertChannel(name="ops", url="https://hooks.example/x")
    with ledger.plane() as plane:
        ledger.deadly.order("ledger")
        answer = plane.ledger.ApplyConfiguration(ledger_pb.ApplyConfigurationRequest(channels=[channel]))

    assert ledger.deadly.is_done
    assert [change.name for change in answer.changes] == ["ops"]
    assert (ledger.count("alert_channels"), ledger.count("audit_entries")) == (1, 1)


def test_a_configuration_that_killed_the_router_is_told_as_it_was_applied(service: Callable[[str], Watched]) -> None:
    router = service("router")
    provider = router_pb.Provider(
        name="lab",
        protocol=dialect_pb2.DIALECT_OPENAI,
        base_url="http://127.0.0.1:1/v1",
        api_key=router_pb.SecretReference(none=True),
    )
    with router.plane() as plane:
        known = router_pb.ApplyConfigurationRequest(providers=[provider])
        router.deadly.order("router")
        answer = plane.router.ApplyConfiguration(known)

    assert router.deadly.is_done
    assert [change.name for change in answer.changes] == ["lab"]
    assert (router.count("providers"), router.count("audit_entries")) == (1, 1)
