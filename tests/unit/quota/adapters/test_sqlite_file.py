from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.errors import Unavailable
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.policies.denial import Denial
from tests.worlds.quota import CENT, World, spend

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "db" / "quota.sqlite"
    engine = open_engine(path)
    migrate(engine, "services.quota")
    engine.dispose()
    return path


@pytest.fixture
def file(path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile(path)
    yield file
    file.close()


def test_a_locked_file_refuses_calls_and_is_back_when_it_is_free(path: Path, file: SqliteFile) -> None:
    world = World((spend("budget", 10),), counters=SqliteCounters(file))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    deny = world.refused()
    other.execute("ROLLBACK")
    other.close()

    assert deny.denial is Denial.POLICY_UNAVAILABLE
    assert "locked" in deny.detail
    assert world.let()


def test_a_full_disk_refuses_calls_and_changes_nothing(file: SqliteFile) -> None:
    world = World((spend("budget", 100_000),), counters=SqliteCounters(file))
    world.let()
    with file.writing() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    outcomes = [world.ask() for _ in range(100)]
    refused = [outcome for outcome in outcomes if getattr(outcome, "denial", None) is Denial.POLICY_UNAVAILABLE]

    assert refused
    assert world.level("budget") == (0, (101 - len(refused)) * CENT)
    assert world.counters.open_count() == 101 - len(refused)


def test_a_closed_file_is_unavailable_and_does_not_crash(path: Path) -> None:
    file = SqliteFile(path)
    file.close()

    with pytest.raises(Unavailable):
        SqliteCounters(file).open_count()
    with pytest.raises(Unavailable):
        file.checkpoint()
    with pytest.raises(Unavailable):
        SqliteCounters(file).release(reservation_ids=["rsv"])


def test_a_block_that_raises_leaves_nothing_behind(file: SqliteFile) -> None:
    def fail_halfway() -> None:
        with file.writing() as connection:
            connection.execute("INSERT INTO reservations VALUES ('rsv', 'request', 'epoch', '{}')")
            raise LookupError

    with pytest.raises(LookupError):
        fail_halfway()

    assert SqliteCounters(file).open_count() == 0


def test_readers_do_not_wait_for_the_writer(file: SqliteFile) -> None:
    counters = SqliteCounters(file)
    with file.writing():
        assert counters.open_count() == 0


def test_the_log_is_moved_into_the_file_while_somebody_writes(path: Path, file: SqliteFile, tmp_path: Path) -> None:
    world = World((spend("budget", 10),), counters=SqliteCounters(file))
    world.let()
    with file.writing() as connection:
        connection.execute("DELETE FROM reservations")
        file.checkpoint()
        copied = shutil.copy(path, tmp_path / "without-its-log.sqlite")

    with closing(sqlite3.connect(copied)) as alone:
        assert alone.execute("SELECT count(*) FROM reservations").fetchone() == (1,)


def test_no_commit_moves_the_log_into_the_file_however_long_it_is(path: Path, file: SqliteFile) -> None:
    """It would hold up every call that waits for a decision."""
    file.checkpoint()
    before = path.stat().st_size
    row = "INSERT INTO reservations VALUES (?, 'request', 'epoch', ?)"
    for number in range(30):
        file.write(row, (f"rsv-{number}", "x" * 1_000_000))
    log = path.with_name(f"{path.name}-wal")

    assert path.stat().st_size == before
    assert log.stat().st_size > 30_000_000

    file.checkpoint()

    assert path.stat().st_size > 30_000_000


def test_what_was_reserved_is_still_there_after_kill_9(path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from services.quota.adapters.sqlite_counters import SqliteCounters
        from services.quota.adapters.sqlite_file import SqliteFile
        from tests.worlds.quota import World, spend

        world = World((spend("budget", 10),), counters=SqliteCounters(SqliteFile(Path({str(path)!r}))))
        world.let()
        world.let()
        os.kill(os.getpid(), signal.SIGKILL)
    """)

    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True)

    assert ended.returncode == -9, ended.stderr
    file = SqliteFile(path)
    world = World((spend("budget", 10),), counters=SqliteCounters(file))
    assert world.level("budget") == (0, 2 * CENT)
    assert world.counters.open_count() == 2
    file.close()


def test_nobody_else_on_the_machine_can_read_the_file(path: Path, file: SqliteFile) -> None:
    SqliteCounters(file).open_count()

    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
