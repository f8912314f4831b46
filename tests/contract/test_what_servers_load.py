"""A server holds in memory only the libraries that it uses. The real process says, once it is up, what it imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAM = """
import importlib, signal, sys
service = importlib.import_module(sys.argv[1])
signal.sigwait = lambda _: print(*sys.modules)
service.main()
"""
# What it takes in memory, in MiB: alembic with mako 11, httpx 6, pydantic 6, redis 6, OpenTelemetry's SDK 4.
_OF_MIGRATIONS = ("alembic", "mako")
_OF_TERMINALS = ("httpx", "rich", "pygments", "click", "typer")
_OF_RECEIVERS = ("opentelemetry.sdk", "opentelemetry.exporter")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # A short path, for the sockets.
    folder = Path(tempfile.mkdtemp(prefix="m"))
    yield folder
    shutil.rmtree(folder)


def loaded(service: str, data_dir: Path, **variables: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, f"services.{service}.main"],
        env={"SPENDGATE_DATA_DIR": str(data_dir), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    # The process was up, and we do see what it imports.
    assert {"grpc", "sqlalchemy", "services.chassis.runtime"} <= modules
    return modules


@pytest.mark.parametrize(
    ("service", "unused"),
    [
        ("quota", (*_OF_MIGRATIONS, *_OF_TERMINALS, *_OF_RECEIVERS, "pydantic", "redis", "genai_prices")),
        ("router", (*_OF_MIGRATIONS, *_OF_TERMINALS, *_OF_RECEIVERS, "pydantic", "redis", "genai_prices")),
        # Nobody has asked for a published price yet.
        ("ledger", (*_OF_MIGRATIONS, *_OF_TERMINALS, *_OF_RECEIVERS, "pydantic", "redis", "genai_prices")),
    ],
)
def test_a_server_does_not_load_what_it_does_not_use(service: str, unused: tuple[str, ...], data_dir: Path) -> None:
    assert loaded(service, data_dir).intersection(unused) == set()


def test_a_ledger_with_a_receiver_of_traces_loads_what_sends_them(data_dir: Path) -> None:
    assert "opentelemetry.sdk" in loaded("ledger", data_dir, SPENDGATE_OTLP_ENDPOINT="127.0.0.1:1")


def test_what_migrates_is_loaded_neither_at_the_first_start_nor_at_later_ones(data_dir: Path) -> None:
    at_first, later = loaded("router", data_dir), loaded("router", data_dir)

    assert "alembic" not in at_first | later
