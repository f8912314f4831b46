"""Opens quota's stores on disk and in Redis, in the order of their dependencies."""

from __future__ import annotations

import os
from dataclasses import dataclass

import sqlalchemy as sa

from services.chassis.database import bring_up_to_date, open_engine
from services.chassis.runtime import Closers
from services.kernel.clock import Clock
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.pepper_file import PepperLostError, open_pepper
from services.quota.adapters.sql_directory import SqlDirectory, SqlSnapshots
from services.quota.adapters.sqlite_allowances import SqliteAllowances
from services.quota.adapters.sqlite_counters import SqliteCounters, counts_anything
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.adapters.sqlite_expectations import SqliteExpectations
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_key_rates import SqliteKeyRates
from services.quota.ports.counters import CounterStore, PutBack
from services.quota.settings import Settings
from services.quota.usecases.forget_secrets import forget_secrets


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that survives a restart, and the values read from it."""

    engine: sa.Engine
    file: SqliteFile
    """The same database, for the hot path."""
    snapshots: SqlSnapshots
    directory: SqlDirectory
    pepper: bytes
    allowances: SqliteAllowances
    counters: CounterStore
    expectations: SqliteExpectations
    rates: SqliteKeyRates


def open_stores(settings: Settings, clock: Clock, closers: Closers) -> Stores:
    """Opens and migrates the stores.

    Raises:
        SettingsError: the Redis of the counters cannot be used, or the pepper of the stored secrets is lost.
    """
    bring_up_to_date(settings.database, "services.quota")
    engine = open_engine(settings.database)
    closers.add("the database", engine.dispose)
    file = SqliteFile(settings.database)
    closers.add("the file of the counters", file.close)
    snapshots, directory = SqlSnapshots(engine), SqlDirectory(engine)
    pepper = _open_pepper(settings, snapshots, directory, clock)
    allowances = SqliteAllowances(file, settings.number)
    counters = _open_counters(settings, file, snapshots, pepper, allowances.put_back, closers)
    return Stores(
        engine=engine,
        file=file,
        snapshots=snapshots,
        directory=directory,
        pepper=pepper,
        allowances=allowances,
        counters=counters,
        expectations=SqliteExpectations(file),
        rates=SqliteKeyRates(file),
    )


def _open_pepper(settings: Settings, snapshots: SqlSnapshots, directory: SqlDirectory, clock: Clock) -> bytes:
    try:
        return open_pepper(settings.pepper, snapshots, directory.load(), os.urandom)
    except PepperLostError:
        if not settings.new_pepper:
            raise
        forget_secrets(directory, clock)
        return open_pepper(settings.pepper, snapshots, directory.load(), os.urandom)


def _open_counters(
    settings: Settings, file: SqliteFile, snapshots: SqlSnapshots, pepper: bytes, put_back: PutBack, closers: Closers
) -> CounterStore:
    if settings.counters_url is None:
        return SqliteCounters(file)
    # Imported here, because the Redis client takes 6 MB, and most quotas need none.
    from services.quota.adapters.redis_counters import RedisCounters  # noqa: PLC0415
    from services.quota.adapters.redis_keys import tag_of  # noqa: PLC0415
    from services.quota.adapters.redis_session import LocalRecords  # noqa: PLC0415

    local = LocalRecords(
        snapshots,
        HeldJournal(settings.database.parent, settings.number),
        SqliteDoubts(file),
        put_back,
        fresh=not counts_anything(file),
    )
    counters = RedisCounters(settings.counters_url, tag_of(pepper), local, is_first=settings.number == 1)
    closers.add("the counters", counters.close)
    return counters
