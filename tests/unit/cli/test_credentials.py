from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.chassis.process import SystemClock
from services.chassis.sealed_text import KEY_VARIABLE, is_sealed, new_sealing_key
from services.cli.main import build_app
from services.cli.problems import CommandError, Misuse, Refused
from services.cli.session import Session

SECRET = "sk-provider-0123456789"
KEY = new_sealing_key()


class Credentials:
    """`spendgate credentials` on one data directory."""

    def __init__(self, data_dir: Path, key: str = KEY) -> None:
        self.folder = data_dir / "secrets"
        self._options = ["--data-dir", str(data_dir), "--json"]
        self._session = Session({KEY_VARIABLE: key}, SystemClock())

    def run(self, *arguments: str, given: str | None = None, code: int = 0) -> Any:
        command = ["credentials", *arguments, *self._options]
        done = CliRunner().invoke(build_app("credentials"), command, obj=self._session, input=given)
        if isinstance(done.exception, CommandError):
            raise done.exception
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def kept(self) -> dict[str, str]:
        return {one["name"]: one["kept"] for one in self.run("list")["credentials"]}


def test_a_stored_credential_is_sealed_and_private(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "data")
    stored = credentials.run("put", "openai", given=f"{SECRET}\n")
    path = credentials.folder / "openai"
    assert stored == {"name": "openai", "path": str(path), "kept": "sealed", "replaced": False}
    assert is_sealed(path.read_text())
    assert SECRET not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.kept() == {"openai": "sealed"}
    assert credentials.run("put", "openai", given=SECRET)["replaced"]
    assert [each.name for each in credentials.folder.iterdir()] == ["openai"]


def test_without_a_key_it_is_stored_only_if_clear_is_asked_for(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, key="")
    with pytest.raises(Refused, match="new-key"):
        credentials.run("put", "openai", given=SECRET)
    assert credentials.run("put", "openai", "--plain", given=SECRET)["kept"] == "in clear"
    assert (credentials.folder / "openai").read_text() == f"{SECRET}\n"


@pytest.mark.parametrize("name", ["../pepper", "/etc/x", ".hidden", "a/b", "", "x" * 200])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misuse, match="write letters"):
        Credentials(tmp_path).run("put", name, given=SECRET)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("value", ["", "\n", "two words", "line\nbreak", "k" * 9_000])
def test_what_no_header_can_carry_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(Misuse, match=r"the credential (is|holds)"):
        Credentials(tmp_path).run("put", "openai", given=value)


def test_a_new_key_takes_over_what_is_in_clear_or_sealed_with_the_old_one(tmp_path: Path) -> None:
    Credentials(tmp_path, key="").run("put", "clear", "--plain", given="sk-clear")
    Credentials(tmp_path, key=KEY).run("put", "old", given=SECRET)
    fresh = new_sealing_key()
    both = Credentials(tmp_path, key=f"{fresh},{KEY}")
    assert both.kept() == {"clear": "in clear", "old": "sealed with an older key"}
    assert both.run("seal") == {"sealed": ["clear", "old"], "left": []}
    assert Credentials(tmp_path, key=fresh).kept() == {"clear": "sealed", "old": "sealed"}
    assert both.run("seal") == {"sealed": [], "left": []}


def test_what_cannot_be_opened_is_left_as_it_is_and_named(tmp_path: Path) -> None:
    old = Credentials(tmp_path, key=KEY)
    old.run("put", "old", given=SECRET)
    (old.folder / "image").write_bytes(b"\x89PNG")
    before = (old.folder / "old").read_text()
    other = Credentials(tmp_path, key=new_sealing_key())
    left = other.run("seal", code=1)["left"]
    assert [each.partition(":")[0] for each in left] == ["image", "old"]
    assert (old.folder / "old").read_text() == before
    assert other.kept()["old"].startswith("cannot be opened: it is sealed with a key that")
