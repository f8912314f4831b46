"""A change of one key among very many takes little of the interpreter that calls need."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.change import OWNER
from services.kernel.clock import ManualClock
from services.quota.adapters.sql_directory import SqlDirectory
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.key import VirtualKey
from services.quota.usecases.administer import Administer
from services.quota.usecases.amend import Amend
from services.quota.usecases.live import Live
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.quota import ADA, PEPPER

FEW, MANY = 500, 2_500
CALLS_FOR_EACH_OTHER_KEY = 7


def key_of(number: int) -> VirtualKey:
    who = replace(ADA, key_id=f"key_{number}", key=f"key-{number:06d}")
    return VirtualKey(who, digest=number.to_bytes(32, "big"), unlimited=True)


def calls_of_a_change(folder: Path, count: int) -> int:
    """The functions that run when one of so many keys is disabled."""
    engine = open_engine(folder / f"{count}.sqlite")
    migrate(engine, "services.quota")
    store = SqlDirectory(engine)
    store.replace(lambda _: (Directory("acme", keys=tuple(map(key_of, range(count)))), ()))
    live, clock = Live(store.load()), ManualClock()
    amend = Amend(store=store, live=live, adoption=MemoryCounters(), clock=clock)
    amend.catch_up()
    administer = Administer(amend=amend, live=live, clock=clock, entropy=os.urandom, pepper=PEPPER)
    calls = 0

    def count_call(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count_call)
    try:
        administer.set_key_disabled(f"key-{count // 2:06d}", disabled=True, by=OWNER)
    finally:
        sys.setprofile(None)
    engine.dispose()
    assert [key.name for key in store.load().keys if key.disabled] == [f"key-{count // 2:06d}"]
    return calls


def test_a_change_of_a_key_looks_at_the_others_a_few_times(tmp_path: Path) -> None:
    few, many = (calls_of_a_change(tmp_path, count) for count in (FEW, MANY))

    assert many - few <= CALLS_FOR_EACH_OTHER_KEY * (MANY - FEW)
