from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.process import JsonLines, SystemClock

_PROGRAM = """
from services.chassis import process
from services.chassis.runtime import Closers, Runtime
from pathlib import Path

class Echo:
    name = "echo"
    def start(self): print("up in", Path.cwd().name, flush=True)
    def stop(self): print("down", flush=True)

def build(settings, clock):
    if settings == "broken":
        raise RuntimeError("no way")
    return Runtime(servers=[Echo()], loops=[], closers=Closers())

process.run("echo", lambda environ: environ.text("NEEDED"), build)
"""


def _start(data_dir: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, "SPENDGATE_DATA_DIR": str(data_dir), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_service_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = _start(tmp_path, NEEDED="yes")
    assert process.stdout is not None
    assert process.stdout.readline() == "up in run\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "down\n")


def test_wrong_settings_end_with_two_and_the_name_of_the_variable(tmp_path: Path) -> None:
    process = _start(tmp_path)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, json.loads(errors)["message"]) == (2, "echo: NEEDED is not set")


def test_a_variable_that_nothing_reads_ends_with_two_and_the_one_that_was_meant(tmp_path: Path) -> None:
    process = _start(tmp_path, NEEDED="yes", SPENDGATE_LOG_LEVLE="debug")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "did you mean 'SPENDGATE_LOG_LEVEL'?" in json.loads(errors)["message"]


def test_a_start_that_fails_ends_with_one_and_its_traceback_in_one_line(tmp_path: Path) -> None:
    process = _start(tmp_path, NEEDED="broken")
    _, errors = process.communicate(timeout=20)
    told = json.loads(errors)
    assert (process.returncode, told["message"]) == (1, "echo could not start")
    assert "RuntimeError: no way" in told["exception"]


def test_sockets_and_databases_are_for_the_owner_only(tmp_path: Path) -> None:
    process = _start(tmp_path / "data", NEEDED="yes")
    assert process.stdout is not None
    process.stdout.readline()
    assert (tmp_path / "data" / "run").stat().st_mode & 0o777 == 0o700
    process.terminate()
    process.communicate(timeout=20)


def test_a_log_line_is_one_line_whatever_is_logged() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "header: %s", ('a\nb"c',), None)
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == 'header: a\nb"c'


def test_the_system_clock_counts_milliseconds() -> None:
    assert 1_700_000_000_000 < SystemClock().now_ms() < 5_000_000_000_000


_WATCH_GRPC = """
import os, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "grpc":
            print(os.environ.get("GRPC_EXPERIMENTS"))
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize("service", ["quota", "router", "ledger"])
def test_grpcio_is_told_who_reads_its_sockets_before_anybody_imports_it(service: str) -> None:
    code = f"{_WATCH_GRPC}import services.{service}.main"
    environ = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["-event_engine_listener"]
