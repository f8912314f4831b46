"""`spendgate up` where it cannot or may not run: a clear sentence, exit code 1 or 2, and nothing left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.worlds.gateway import run_command
from tests.worlds.up_process import start_up

pytestmark = pytest.mark.e2e


def _up(data_dir: Path, *arguments: str) -> tuple[int, str]:
    done = run_command("up", "--data-dir", str(data_dir), *arguments)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(("option", "other"), [("--listen", "--admin-listen"), ("--admin-listen", "--listen")])
def test_a_port_that_is_taken_is_named(tmp_path: Path, option: str, other: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        address = f"127.0.0.1:{squatter.getsockname()[1]}"
        code, errors = _up(tmp_path / "data", option, address, other, "127.0.0.1:0")
    assert code == 1
    assert errors == (
        f"error: {option} {address}: the port is taken: stop what listens there, or choose another port\n"
    )
    assert not (tmp_path / "data").exists()


def test_the_same_port_cannot_serve_both(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        address = f"127.0.0.1:{chosen.getsockname()[1]}"
    code, errors = _up(tmp_path / "data", "--listen", address, "--admin-listen", address)
    assert code == 2
    assert "--listen and --admin-listen" in errors


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, errors = _up(tmp_path / "file" / "data", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    assert code == 1
    assert errors == f"error: data directory {tmp_path}/file/data cannot be used: Not a directory\n"


def test_a_read_only_file_system_is_named() -> None:
    code, errors = _up(Path("/proc/spendgate"), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    assert code == 1
    assert "data directory /proc/spendgate cannot be used" in errors


def test_a_data_directory_that_others_can_read_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o755)
    data_dir.chmod(0o755)
    (data_dir / "pepper").write_text("planted")
    code, errors = _up(data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    assert code == 1
    assert "is open to other users and not empty" in errors
    assert f"chmod 700 {data_dir}" in errors


def test_an_address_that_others_reach_needs_encryption_or_insistence(tmp_path: Path) -> None:
    code, errors = _up(tmp_path / "data", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0")
    assert code == 1
    assert "--tls-certificate" in errors
    assert "--insecure" in errors


def test_a_wrong_configuration_stops_it_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("version: 1\norganization: acme\npolices: []\n")
    code, errors = _up(tmp_path / "data", "-f", str(file))
    assert code == 2
    assert errors.startswith(f"error: {file}:3:1: polices: unknown field")
    assert not (tmp_path / "data").exists()


def test_a_second_gateway_on_the_same_data_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with start_up(tmp_path) as first:
        first.wait_ready()
        code, errors = _up(first.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
        assert code == 1
        assert f"is in use by another gateway (process {first.process.pid})" in errors
        assert run_command("status", "--admin", first.admin, "--data-dir", str(first.data_dir)).returncode == 0
        assert first.end() == 0


def test_a_service_that_cannot_start_is_shown_with_its_own_words(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "db").mkdir(parents=True, mode=0o700)
    data_dir.chmod(0o700)
    (data_dir / "db" / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    code, errors = _up(data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    assert code == 1
    assert "ledger ended while it started" in errors
    assert "file is not a database" in errors
    assert not [process for process in Path("/proc").glob("[0-9]*") if _works_in(process, data_dir / "run")]


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quota-replicas", "2"), "--counters redis://HOST:PORT"),
        (("--counters", "http://:a-password@127.0.0.1"), "redis:// or rediss://"),
    ],
)
def test_counters_that_cannot_hold_a_limit_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, errors = _up(tmp_path / "data", *arguments)
    assert code == 2
    assert said in errors
    assert "a-password" not in errors
    assert not (tmp_path / "data").exists()
