from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.quota.adapters.pepper_file import load_pepper


def test_a_pepper_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    pepper = load_pepper(path, os.urandom)
    assert len(pepper) == 32
    assert load_pepper(path, os.urandom) == pepper
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["pepper"]


def test_processes_that_start_at_once_share_one_pepper(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        peppers = list(pool.map(lambda _: load_pepper(tmp_path / "pepper", os.urandom), range(32)))
    assert len(set(peppers)) == 1


@pytest.mark.parametrize("content", ["", "zz", "00" * 31, "00" * 33])
def test_a_damaged_pepper_is_reported_and_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pepper"
    path.write_text(content, encoding="ascii")
    with pytest.raises(ValueError, match="restore it from a backup"):
        load_pepper(path, os.urandom)
    assert path.read_text(encoding="ascii") == content
