"""Watches what happens while calls cannot get their decisions: how much is done in one go, whatever the machine.

Times would depend on what else the machine does. Counts do not: lines of Python and rows of SQLite while a lock is
held, commands and elements while Redis executes one thing.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import pytest

from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.slices import Turns
from services.quota.adapters.sqlite_file import SqliteFile


class WatchedLock:
    """A lock that counts the lines that its holder runs, once somebody watches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines = 0
        self.is_watched = False
        self.most_lines = 0
        """Of all holdings."""

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self.is_watched:
            return
        self._lines = 0
        frame = inspect.currentframe()
        assert frame is not None
        # The frame of the `with` runs already. Those that it calls begin to be traced by themselves.
        holder = frame.f_back
        assert holder is not None
        holder.f_trace = self._count
        sys.settrace(self._count)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(None)
        self.most_lines = max(self.most_lines, self._lines)
        self._lock.release()

    def _count(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        self._lines += event == "line"
        return self._count


@contextmanager
def lines_between_turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The lines of Python that run between two pauses: for that long, calls contend for the interpreter."""
    counts = [0]
    real = Turns.between

    def counted(turns: Turns, slices: Iterable[Any]) -> Iterator[Any]:
        for number, some in enumerate(real(turns, slices)):
            if number:
                counts.append(0)
            yield some

    def count(_frame: FrameType, event: str, _argument: Any) -> Any:
        counts[-1] += event == "line"
        return count

    with monkeypatch.context() as patched:
        patched.setattr(Turns, "between", counted)
        sys.settrace(count)
        try:
            yield counts
        finally:
            sys.settrace(None)


@contextmanager
def rows_of_transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The rows that each transaction of counters' files changes: every reservation waits for them."""
    rows: list[int] = []
    real = SqliteFile.writing

    @contextmanager
    def counted(file: SqliteFile) -> Iterator[Any]:
        with real(file) as connection:
            before = connection.total_changes
            yield connection
            rows.append(connection.total_changes - before)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteFile, "writing", counted)
        yield rows


@contextmanager
def steps_of_redis(monkeypatch: pytest.MonkeyPatch, client: Any) -> Iterator[list[int]]:
    """What Redis does in one go for each script and command: the commands of a script, the elements of an answer."""
    steps: list[int] = []
    run, command = RedisLink.run, RedisLink.command

    def calls() -> int:
        return sum(each["calls"] for name, each in client.info("commandstats").items() if name != "cmdstat_info")

    def counted_run(*asked: Any, **options: Any) -> Any:
        before = calls()
        answer = run(*asked, **options)
        steps.append(calls() - before)
        return answer

    def counted_command(link: RedisLink, *parts: Any, **options: Any) -> Any:
        answer = command(link, *parts, **options)
        found = answer[1] if parts[0] == "ZSCAN" else answer
        steps.append(max(len(parts), len(found) if isinstance(found, list) else 1))
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(RedisLink, "run", counted_run)
        patched.setattr(RedisLink, "command", counted_command)
        yield steps
