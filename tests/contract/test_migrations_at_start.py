"""A service's start brings its tables up to date in a process of its own, or says why it cannot."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from services.chassis.database import MigrationError, bring_up_to_date
from services.chassis.settings import SettingsError
from tests.tables import PACKAGES, file_of, newest_tables

ROOT = Path(__file__).resolve().parents[2]


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        (revision,) = connection.execute("select version_num from alembic_version").fetchone()
        return str(revision)


def newest(package: str) -> str | None:
    config = Config()
    config.set_main_option("script_location", str(ROOT.joinpath(*package.split("."), "migrations")))
    return ScriptDirectory.from_config(config).get_current_head()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_new_file_is_private_and_gets_the_newest_tables(package: str, tmp_path: Path) -> None:
    path = tmp_path / "db" / "service.sqlite"

    bring_up_to_date(path, package)

    assert revision_of(path) == newest(package)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_new_file_gets_is_what_all_migrations_make(package: str) -> None:
    assert file_of(package).read_text() == newest_tables(package), "run `make tables`"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_new_file_needs_no_process(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    for name in ("missing.sqlite", "empty.sqlite"):
        path = tmp_path / name
        if name.startswith("empty"):
            path.touch()

        bring_up_to_date(path, package)

        assert revision_of(path) == newest(package)


def test_of_two_that_start_at_once_one_creates_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "router.sqlite"
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(bring_up_to_date, path, "services.router") for _ in range(8)]:
            done.result()

    assert revision_of(path) == newest("services.router")


def test_tables_that_are_up_to_date_need_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "router.sqlite"
    bring_up_to_date(path, "services.router")
    monkeypatch.setattr(sys, "executable", "/no/such/program")

    bring_up_to_date(path, "services.router")


def test_tables_of_the_release_before_are_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "router.sqlite"
    bring_up_to_date(path, "services.router")
    later = (
        "requests",
        "drained_targets",
        "left_slots",
        "out_targets",
        "noted_leads",
        "unreported_switches",
        "listeners",
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("; ".join(f"drop table {name}" for name in later))
        connection.execute("update alembic_version set version_num = '0002'")
        connection.commit()

    bring_up_to_date(path, "services.router")

    assert revision_of(path) == newest("services.router")


def test_tables_of_a_later_release_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "router.sqlite"
    bring_up_to_date(path, "services.router")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("update alembic_version set version_num = '9999'")

    with pytest.raises(SettingsError, match=r"router\.sqlite is from a later release.*9999.*restore a copy"):
        bring_up_to_date(path, "services.router")


def test_migrations_that_fail_stop_the_start_and_say_why(tmp_path: Path) -> None:
    path = tmp_path / "router.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table audit_entries (in_the_way)")

    with pytest.raises(MigrationError, match="audit_entries already exists"):
        bring_up_to_date(path, "services.router")

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("audit_entries",)]
