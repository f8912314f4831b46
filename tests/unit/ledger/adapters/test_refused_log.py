from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from services.ledger.adapters.refused_log import RefusedLog
from tests.worlds.spool_lines import line, write_lines


def refused(number: int, **changed: Any) -> dict[str, Any]:
    return {"kind": "refused", "id": f"request-{number}", "time": "2026-11-23T20:00:00.500Z", "status": 404, **changed}


Opens = Callable[[], RefusedLog]


def all_of(lines: int) -> int:
    return lines


def ids(log: RefusedLog) -> list[str]:
    found, left_out = log.read(all_of)
    assert left_out == 0
    return [each.request_id for each in found]


@pytest.fixture
def open_log(path: Path) -> Iterator[Opens]:
    """Opens the log, and closes it when the test is over."""
    with ExitStack() as stack:

        def opened() -> RefusedLog:
            log = RefusedLog(path)
            stack.callback(log.close)
            return log

        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refused.jsonl"


def test_what_is_appended_is_read_once(open_log: Opens, path: Path) -> None:
    write_lines(path, [refused(1)])
    log = open_log()
    assert ids(log) == []
    write_lines(path, [refused(2), refused(3)])
    assert ids(log) == ["request-2", "request-3"]
    assert ids(log) == []


def test_a_log_that_comes_later_is_read_from_its_start(open_log: Opens, path: Path) -> None:
    log = open_log()
    assert ids(log) == []
    write_lines(path, [refused(1)])
    assert ids(log) == ["request-1"]


def test_a_line_is_read_when_it_is_whole(open_log: Opens, path: Path) -> None:
    log, whole = open_log(), line(refused(1))
    for part in (whole[:20], whole[20:-1]):
        with path.open("ab") as stream:
            stream.write(part)
        assert ids(log) == []
    with path.open("ab") as stream:
        stream.write(b"\n" + line(refused(2)))
    assert ids(log) == ["request-1", "request-2"]


def test_the_end_of_a_log_that_was_replaced_is_read_before_its_successor(open_log: Opens, path: Path) -> None:
    write_lines(path, [])
    log = open_log()
    write_lines(path, [refused(1)])
    path.rename(path.with_name("refused.1.jsonl"))
    # Until Envoy opens its logs anew, it writes into the old one.
    assert ids(log) == ["request-1"]
    write_lines(path.with_name("refused.1.jsonl"), [refused(2)])
    write_lines(path, [refused(3)])
    assert [*ids(log), *ids(log), *ids(log)] == ["request-2", "request-3"]


def test_a_log_that_somebody_emptied_is_read_from_its_start(open_log: Opens, path: Path) -> None:
    write_lines(path, [])
    log = open_log()
    write_lines(path, [refused(1), refused(2)])
    ids(log)
    path.write_bytes(b"")
    write_lines(path, [refused(3)])
    assert ids(log) == ["request-3"]


def test_lines_that_are_too_many_are_counted_and_not_parsed(open_log: Opens, path: Path) -> None:
    log = open_log()
    write_lines(path, [refused(1), refused(2), refused(3)])
    found, left_out = log.read(lambda lines: lines - 2)
    assert ([each.request_id for each in found], left_out) == (["request-1"], 2)


@pytest.mark.parametrize("strange", [b"not JSON", b"[]", b"{}", b'{"id":"x"}', b"\xff"])
def test_a_line_that_cannot_be_read_is_passed_over(open_log: Opens, path: Path, strange: bytes) -> None:
    log = open_log()
    path.write_bytes(strange + b"\n" + line(refused(1)))
    assert ids(log) == ["request-1"]


def test_a_line_without_an_end_takes_no_room(open_log: Opens, path: Path) -> None:
    log = open_log()
    path.write_bytes(b"x" * 2_500_000 + b"\n" + line(refused(1)))
    assert [*ids(log), *ids(log), *ids(log), *ids(log)] == ["request-1"]
