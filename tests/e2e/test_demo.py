"""The demo fails by itself when something that it shows did not happen; here it has to succeed, and soon enough."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.worlds.gateway import run_command

pytestmark = pytest.mark.e2e


def test_the_month_is_played_and_adds_up() -> None:
    started = time.monotonic()
    done = run_command("demo", "--json", timeout_s=110)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["settled_usd"] == shown["entries_usd"] == shown["rollups_usd"] == shown["reported_usd"]
    assert 1 < shown["switched_on"] < shown["alerted_on"] < shown["denied_on"] <= 30
    assert shown["refused"] > 0
    assert "Simulated: the providers" in done.stderr
    assert time.monotonic() - started < 90


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = run_command("demo", "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
