"""Quota as a process of its own: it starts alone, comes back after kill -9, and stops cleanly."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import quota_service_pb2_grpc
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2_grpc

from tests.worlds.quota_process import SECRET, call, configuration, spend_policy

PATIENCE_S = 20


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="q"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def running(data_dir: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {"SPENDGATE_DATA_DIR": str(data_dir), **variables}
    process = subprocess.Popen([sys.executable, "-m", "services.quota.main"], env=environ, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(data_dir: Path) -> Any:
    with grpc.insecure_channel(f"unix:{data_dir}/run/quota.sock") as channel:
        stub = external_auth_pb2_grpc.AuthorizationStub(channel)
        return stub.Check(call(), wait_for_ready=True, timeout=PATIENCE_S)


def apply(data_dir: Path) -> None:
    with grpc.insecure_channel(f"unix:{data_dir}/run/quota-admin.sock") as channel:
        stub = quota_service_pb2_grpc.QuotaServiceStub(channel)
        stub.ApplyConfiguration(configuration(spend_policy("kept", 1)), wait_for_ready=True, timeout=PATIENCE_S)


def policies(data_dir: Path) -> list[str]:
    with grpc.insecure_channel(f"unix:{data_dir}/run/quota-admin.sock") as channel:
        stub = quota_service_pb2_grpc.QuotaServiceStub(channel)
        listed = stub.ListQuotaPolicies(pb.ListQuotaPoliciesRequest(), wait_for_ready=True, timeout=PATIENCE_S)
        return [policy.name for policy in listed.quota_policies]


def test_it_answers_alone_and_nothing_it_makes_is_for_others(data_dir: Path) -> None:
    with running(data_dir) as process:
        assert ask(data_dir).denied_response.status.code == 503
        apply(data_dir)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    made = [path for path in data_dir.rglob("*") if path.is_file()]
    assert {path.relative_to(data_dir).parts[0] for path in made} >= {"pepper", "db"}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert SECRET.encode() not in path.read_bytes()


def test_it_comes_back_after_a_kill_with_all_it_held(data_dir: Path) -> None:
    with running(data_dir) as process:
        apply(data_dir)
        process.kill()
        process.wait(PATIENCE_S)
    with running(data_dir):
        assert ask(data_dir).denied_response.status.code == 503
        assert policies(data_dir) == ["kept"]


def test_it_refuses_to_start_with_a_damaged_pepper(data_dir: Path) -> None:
    (data_dir / "pepper").write_text("nonsense", encoding="ascii")
    with running(data_dir) as process:
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr is not None
        assert b"restore it from a backup" in process.stderr.read()


def test_it_refuses_to_start_without_the_pepper_of_its_keys_and_says_what_to_do(data_dir: Path) -> None:
    with running(data_dir):
        apply(data_dir)
    pepper = data_dir / "pepper"
    kept = pepper.read_text()
    for wrong in (None, "00" * 32):
        pepper.unlink()
        if wrong is not None:
            pepper.write_text(wrong)
        with running(data_dir) as process:
            assert process.wait(PATIENCE_S) == 2
            assert process.stderr is not None
            told = process.stderr.read().decode()
        assert ("is missing" if wrong is None else "is not the pepper of this gateway") in told
        assert "Put it back from a backup" in told
        assert "SPENDGATE_NEW_PEPPER=1" in told
        assert pepper.exists() is (wrong is not None)
        pepper.write_text(kept)
    with running(data_dir):
        assert policies(data_dir) == ["kept"]
        assert state_of_key(data_dir) == pb.VirtualKey.STATE_ACTIVE


def test_a_pepper_that_is_lost_for_good_costs_the_secrets_and_nothing_else(
    data_dir: Path,
) -> None:
    with running(data_dir):
        apply(data_dir)
    (data_dir / "pepper").unlink()
    for _ in range(2):
        with running(data_dir, SPENDGATE_NEW_PEPPER="1"):
            assert state_of_key(data_dir) == pb.VirtualKey.STATE_WITHOUT_SECRET
            assert policies(data_dir) == ["kept"]
    with running(data_dir):
        apply(data_dir)
        assert state_of_key(data_dir) == pb.VirtualKey.STATE_ACTIVE


def state_of_key(data_dir: Path) -> int:
    with grpc.insecure_channel(f"unix:{data_dir}/run/quota-admin.sock") as channel:
        stub = quota_service_pb2_grpc.QuotaServiceStub(channel)
        (key,) = stub.ListVirtualKeys(pb.ListVirtualKeysRequest(), wait_for_ready=True, timeout=PATIENCE_S).virtual_keys
        return int(key.state)
