"""The command line within the process of a test, before services with prepared answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.cli.main import run
from services.cli.session import Session
from services.kernel.clock import ManualClock
from tests.worlds.stand_in_services import TOKEN, StandIn

# 2027-01-15T08:00:00Z
NOW_MS = 1_800_000_000_000


class Cli:
    def __init__(self, services: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
        self._admin = services.address
        self._capsys = capsys

    def text(self, *arguments: str, token: str = TOKEN) -> tuple[int, str, str]:
        session = Session({"SPENDGATE_TOKEN": token}, ManualClock(NOW_MS))
        with pytest.raises(SystemExit) as ended:
            run([*arguments, "--admin", self._admin], session)
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self.text(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)
