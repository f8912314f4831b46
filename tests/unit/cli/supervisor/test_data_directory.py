from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from services.cli.supervisor.data_directory import DataDirectory, DataDirectoryError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_created_private_with_secrets_that_last(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    with DataDirectory(path) as directory:
        assert {entry.name: _mode(entry) for entry in path.iterdir()} == {
            **dict.fromkeys(("run", "db", "spool", "logs", "secrets"), 0o700),
            **dict.fromkeys(("lock", "pepper", "admin-token"), 0o600),
        }
        assert _mode(path) == 0o700
        before = [(path / name).read_text() for name in ("pepper", "admin-token")]
        assert len(before[0].strip()) == 64
        assert directory.token_file.read_text() == before[1]
    with DataDirectory(path):
        assert [(path / name).read_text() for name in ("pepper", "admin-token")] == before


def test_two_directories_have_different_secrets(tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "a") as first, DataDirectory(tmp_path / "b") as second:
        assert first.token_file.read_text() != second.token_file.read_text()
        assert (first.path / "pepper").read_text() != (second.path / "pepper").read_text()


def test_only_one_gateway_at_a_time_may_have_it(tmp_path: Path) -> None:
    in_use = rf"in use by another gateway \(process {os.getpid()}\)"
    with DataDirectory(tmp_path / "data"), pytest.raises(DataDirectoryError, match=in_use):
        DataDirectory(tmp_path / "data")
    DataDirectory(tmp_path / "data").close()


def test_an_empty_open_directory_is_made_private_and_a_filled_one_refused(tmp_path: Path) -> None:
    for name in ("empty", "filled"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    (tmp_path / "filled" / "pepper").write_text("planted")
    DataDirectory(tmp_path / "empty").close()
    assert _mode(tmp_path / "empty") == 0o700
    with pytest.raises(DataDirectoryError, match="is open to other users and not empty: `chmod 700"):
        DataDirectory(tmp_path / "filled")


@pytest.mark.parametrize("name", ["pepper", "admin-token"])
def test_a_damaged_secret_is_refused_and_not_replaced(tmp_path: Path, name: str) -> None:
    DataDirectory(tmp_path / "data").close()
    (tmp_path / "data" / name).write_text("")
    with pytest.raises(DataDirectoryError, match=f"{name} is damaged: restore it from a backup"):
        DataDirectory(tmp_path / "data")
    assert (tmp_path / "data" / name).read_text() == ""
    # The refusal released the lock.
    (tmp_path / "data" / name).unlink()
    DataDirectory(tmp_path / "data").close()


def test_a_file_in_the_way_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(DataDirectoryError, match=r"cannot be used: (File exists|Not a directory)"):
            DataDirectory(path)


def test_sockets_of_a_run_before_are_gone_and_new_ones_have_short_paths(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    (deep / "run").mkdir(parents=True)
    deep.chmod(0o700)
    (deep / "run" / "quota.sock").write_text("")
    with DataDirectory(deep) as directory:
        assert list(directory.run.iterdir()) == []
        assert len(directory.socket("envoy-admin.sock")) < 60
        (directory.run / "quota.sock").write_text("here")
        assert Path(directory.socket("quota.sock")).read_text() == "here"


def test_a_pepper_that_is_lost_is_not_replaced_where_quota_has_a_store(tmp_path: Path) -> None:
    DataDirectory(tmp_path / "data").close()
    (tmp_path / "data" / "db" / "quota.sqlite").touch()
    (tmp_path / "data" / "pepper").unlink()

    DataDirectory(tmp_path / "data").close()

    assert not (tmp_path / "data" / "pepper").exists()
