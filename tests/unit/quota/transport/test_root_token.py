from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.quota.transport.root_token import RootToken

OLD, NEW = "a" * 32, "b" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "admin-token").write_text(f"{OLD}\n", encoding="ascii")
    return tmp_path / "admin-token"


@pytest.mark.parametrize("wrong", ["", OLD[:-1], OLD + "a", NEW, "\N{SNOWMAN}"])
def test_only_the_whole_token_matches(path: Path, wrong: str) -> None:
    token = RootToken(path)
    assert token.matches(OLD)
    assert not token.matches(wrong)


def test_another_token_holds_as_soon_as_the_file_has_it(path: Path) -> None:
    token = RootToken(path)
    assert token.matches(OLD)
    path.write_text(NEW, encoding="ascii")
    os.utime(path, ns=(1, 1))
    assert token.matches(NEW)
    assert not token.matches(OLD)


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_nobody_is_an_administrator_while_the_file_holds_no_token(path: Path, content: str) -> None:
    path.write_text(content, encoding="ascii")
    token = RootToken(path)
    assert not token.matches("")
    assert not token.matches(content)


def test_nobody_is_an_administrator_without_the_file(path: Path) -> None:
    token = RootToken(path)
    assert token.matches(OLD)
    path.unlink()
    assert not token.matches(OLD)


def test_a_file_that_is_gone_is_reported_once_not_at_every_request(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = RootToken(path)
    path.unlink()
    for _ in range(3):
        assert not token.matches(OLD)
    assert len(caplog.records) == 1

    path.write_text(OLD, encoding="ascii")
    assert token.matches(OLD)
    path.unlink()
    assert not token.matches(OLD)
    assert len(caplog.records) == 2
