from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path

import pytest

from services.kernel.clock import ManualClock
from services.quota.adapters.disk import LEAST_FREE_BYTES, FileSystemSpace

Status = namedtuple("Status", ["f_bavail", "f_frsize"])  # noqa: PYI024  (stands for os.statvfs_result)


def test_the_disk_is_asked_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free_bytes = LEAST_FREE_BYTES
    asked: list[Path] = []

    def statvfs(folder: Path) -> Status:
        asked.append(folder)
        return Status(free_bytes // 4_096, 4_096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    clock = ManualClock()
    disk_space = FileSystemSpace(tmp_path, clock)

    assert [disk_space.is_low(), disk_space.is_low()] == [False, False]
    free_bytes -= 4_096
    clock.advance(999)
    assert not disk_space.is_low()
    clock.advance(1)
    assert disk_space.is_low()
    assert asked == [tmp_path, tmp_path]


def test_a_real_disk_answers(tmp_path: Path) -> None:
    assert not FileSystemSpace(tmp_path, ManualClock(), least_free_bytes=0).is_low()
    assert FileSystemSpace(tmp_path, ManualClock(), least_free_bytes=2**62).is_low()
