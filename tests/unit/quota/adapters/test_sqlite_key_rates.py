from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_key_rates import SqliteKeyRates
from services.quota.domain.policies.burn_rate import MINUTE_MS

USD = 1_000_000_000


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    engine.dispose()
    file = SqliteFile(tmp_path / "quota.sqlite")
    yield file
    file.close()


def test_what_the_quota_that_settles_has_learned_is_known_to_the_others_when_they_look(file: SqliteFile) -> None:
    settling, other = SqliteKeyRates(file), SqliteKeyRates(file)
    for minute in range(10):
        settling.add([("key", USD, minute * MINUTE_MS)])
    assert other.typical_nano_usd("key") == 0

    other.refresh()

    assert other.typical_nano_usd("key") == settling.typical_nano_usd("key") > 0


def test_a_minute_that_is_being_added_up_goes_on_when_others_are_looked_at(file: SqliteFile) -> None:
    rates, undisturbed = SqliteKeyRates(file), SqliteKeyRates(file)
    rates.add([("key", USD // 200, 0)])
    rates.refresh()
    rates.add([("key", USD // 200, 0), ("key", 0, MINUTE_MS)])
    undisturbed.add([("key", USD // 100, 0), ("key", 0, MINUTE_MS)])

    assert rates.typical_nano_usd("key") == undisturbed.typical_nano_usd("key") > 0
