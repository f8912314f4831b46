from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from services.chassis.database import open_engine


def test_a_database_is_private_and_survives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "db" / "x.sqlite"
    engine = open_engine(path)
    with engine.connect() as connection:
        journal = connection.execute(sa.text("PRAGMA journal_mode")).scalar_one()
        foreign_keys = connection.execute(sa.text("PRAGMA foreign_keys")).scalar_one()
    engine.dispose()
    assert (journal, foreign_keys) == ("wal", 1)
    assert path.stat().st_mode & 0o777 == 0o600
