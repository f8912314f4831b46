from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from services.cli.supervisor.environment import plain_environ, quota_environ, router_environ
from services.cli.supervisor.envoy import EpochSource, envoy_command
from services.cli.supervisor.listening import Listen, ListenError, check_exposure, parse_listen, reserve
from services.cli.supervisor.log_file import CappedLog
from services.cli.supervisor.settings import SupervisorSettings, TlsFiles
from services.kernel.clock import ManualClock


def _settings(tls: TlsFiles | None = None) -> SupervisorSettings:
    return SupervisorSettings(
        data_dir=Path("/data"),
        listen=parse_listen("--listen", "127.0.0.1:10000"),
        admin_listen=parse_listen("--admin-listen", "127.0.0.1:10001"),
        tls=tls,
        otlp_endpoint="127.0.0.1:4317",
    )


ENVIRON = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "OPENAI_API_KEY": "sk-provider",
    "DS_PROD_KEY": "virtual-key",
    "SPENDGATE_TOKEN": "admin-token",
    "SPENDGATE_ADMIN": "elsewhere:1",
    "SPENDGATE_CREDENTIALS_KEY": "sealing-key",
    "SPENDGATE_RETIRE_AFTER_S": "5",
    "SPENDGATE_LISTEN": "0.0.0.0:1",
}


def test_nobody_is_started_with_the_shells_variables_or_the_admin_token() -> None:
    plain, router = plain_environ(ENVIRON, _settings()), router_environ(ENVIRON, _settings())
    assert router["SPENDGATE_CREDENTIALS_KEY"] == "sealing-key"
    assert "SPENDGATE_CREDENTIALS_KEY" not in plain
    for environ in (plain, router):
        assert not {"OPENAI_API_KEY", "DS_PROD_KEY"} & environ.keys()
        assert not {"SPENDGATE_TOKEN", "SPENDGATE_ADMIN"} & environ.keys()
        assert (environ["PATH"], environ["LC_ALL"], environ["SPENDGATE_RETIRE_AFTER_S"]) == ("/bin", "C", "5")
        assert environ["SPENDGATE_LISTEN"] == "127.0.0.1:10000"
        assert environ["SPENDGATE_DATA_DIR"] == "/data"
        assert environ["SPENDGATE_OTLP_ENDPOINT"] == "127.0.0.1:4317"
        assert "SPENDGATE_TLS_CERTIFICATE" not in environ


def test_services_share_one_heap_among_their_threads_unless_the_user_chooses() -> None:
    chosen = {**ENVIRON, "MALLOC_ARENA_MAX": "4"}
    for environ_of in (plain_environ, router_environ):
        assert environ_of(ENVIRON, _settings())["MALLOC_ARENA_MAX"] == "1"
        assert environ_of(chosen, _settings())["MALLOC_ARENA_MAX"] == "4"


def test_only_quotas_are_told_how_to_reach_the_counters() -> None:
    environ = {**ENVIRON, "SPENDGATE_COUNTERS": "redis://:from-the-shell@elsewhere"}
    settings = replace(_settings(), counters_url="redis://:secret@here", quotas=2)
    second = quota_environ(environ, settings, 2)
    assert second["SPENDGATE_COUNTERS"] == "redis://:secret@here"
    assert (second["SPENDGATE_QUOTA_REPLICA"], second["SPENDGATE_QUOTA_REPLICAS"]) == ("2", "2")
    for others in (plain_environ(environ, settings), router_environ(environ, settings)):
        assert "SPENDGATE_COUNTERS" not in others
        assert others["SPENDGATE_QUOTA_REPLICAS"] == "2"
    assert "secret" not in repr(settings)


def test_certificates_are_named_to_the_services() -> None:
    environ = plain_environ({}, _settings(TlsFiles(Path("/c.pem"), Path("/k.pem"))))
    assert (environ["SPENDGATE_TLS_CERTIFICATE"], environ["SPENDGATE_TLS_PRIVATE_KEY"]) == ("/c.pem", "/k.pem")


def test_epochs_rise_even_when_the_clock_is_set_back(tmp_path: Path) -> None:
    clock = ManualClock(1_800_000_000_000)
    epochs = EpochSource(clock, tmp_path)
    assert epochs.next() == "local-1800000000000"
    assert epochs.next() == "local-1800000000001"
    clock.advance(-10_000)
    assert epochs.next() == "local-1800000000002"
    (tmp_path / "local-1900000000000.jsonl").touch()
    assert EpochSource(clock, tmp_path).next() == "local-1900000000001"


def test_each_start_of_envoy_gets_the_next_epoch(tmp_path: Path) -> None:
    epochs = EpochSource(ManualClock(1_800_000_000_000), tmp_path)
    command = envoy_command(Path("/files"), 2, epochs)
    nodes = [line[line.index("--service-node") + 1] for line in (command(), command())]
    assert nodes == ["local-1800000000000", "local-1800000000001"]
    assert epochs.current == nodes[1]


def test_a_free_port_is_chosen_and_a_taken_one_refused() -> None:
    chosen = reserve(parse_listen("--listen", "127.0.0.1:0"))
    assert chosen.port > 0
    taken = rf"--listen 127.0.0.1:{chosen.port}: the port is taken"
    with socket.create_server(("127.0.0.1", chosen.port)), pytest.raises(ListenError, match=taken):
        reserve(chosen)


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ListenError, match="this machine has no such address"):
        reserve(parse_listen("--listen", "192.0.2.1:0"))


@pytest.mark.parametrize("text", ["", "10000", ":10000", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_has_a_host_and_a_port(text: str) -> None:
    with pytest.raises(ListenError, match="write HOST:PORT"):
        parse_listen("--listen", text)


@pytest.mark.parametrize(("text", "loopback"), [("127.0.0.1:1", True), ("[::1]:1", True), ("0.0.0.0:1", False)])
def test_plain_text_leaves_the_machine_only_when_somebody_insists(text: str, loopback: bool) -> None:
    listen = parse_listen("--listen", text)
    assert listen.is_loopback is loopback
    if not loopback:
        with pytest.raises(ListenError, match="reachable from other machines"):
            check_exposure(listen, encrypted=False, insecure=False)
    for encrypted, insecure in ((True, False), (False, True)):
        check_exposure(listen, encrypted=encrypted, insecure=insecure)


def test_an_address_is_written_as_it_is_reached() -> None:
    anywhere = Listen("--listen", "::", "::", 8)
    assert (anywhere.authority, anywhere.bound, anywhere.reachable) == ("[::]:8", "[::]:8", "[::1]:8")


def test_a_log_keeps_two_files_of_bounded_size_and_knows_its_end(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "quota.log", max_bytes=100)
    for number in range(50):
        log.write(f"line {number:02d}\n".encode())
    assert log.tail(2) == "line 48\nline 49"
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quota.log", "quota.log.1"]
    assert all(path.stat().st_size <= 100 and path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    assert (tmp_path / "quota.log").read_text().endswith("line 49\n")


def test_a_log_that_cannot_grow_does_not_stop_what_is_logged() -> None:
    log = CappedLog(Path("/dev/full"), max_bytes=100)
    log.write(b"the disk is full\n")
    assert log.tail(1) == "the disk is full"
    log.close()
