from __future__ import annotations

import json
from pathlib import Path

import pytest
from spendgate.ledger.v1.ledger_service_pb2 import ListAuditEntriesRequest
from spendgate.type.v1.audit_pb2 import AuditEntry
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_ALERT_CHANNEL, RESOURCE_KIND_PRICE

from services.chassis.audit import AuditLog
from services.kernel.change import OWNER, Action, Actor, Authorship
from services.kernel.clock import ManualClock
from services.kernel.price import Price
from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, REASONING
from services.ledger.adapters.sql_configuration import SqlConfiguration
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_tables import audit_entries
from services.ledger.domain.configuration import Channel, Configuration, PricedTarget
from services.ledger.usecases.price_book import PriceBook
from tests.worlds.flat_price import flat_price
from tests.worlds.repetitions import again, asked
from tests.worlds.spool_lines import PRICE, engine_of, open_database

FREE = flat_price(input_price=0, output=0)


class OneModel:
    """A catalogue of one model."""

    version = "7"

    def price(self, provider: str, model: str, time_ms: int) -> Price | None:
        del time_ms
        return PRICE if (provider, model) == ("openai", "gpt-4o") else None


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


def book_of(database: Database) -> PriceBook:
    return PriceBook(SqlConfiguration(database), OneModel(), ManualClock())


TARGET = PricedTarget("main/big", "openai", "gpt-4o")


def test_a_target_is_priced_by_the_names_that_the_plan_gives_it(database: Database) -> None:
    book = book_of(database)
    assert book.price_of("main/big", 0) is None

    book.remember([TARGET, PricedTarget("lab/tiny", "", "tiny"), PricedTarget("main/odd", "openai", "odd")])

    assert book.price_of("main/big", 0) == PRICE
    assert book.price_of("lab/tiny", 0) is None
    assert book.price_of("main/odd", 0) is None


def test_targets_are_known_after_a_restart_before_quota_has_asked_again(database: Database) -> None:
    book_of(database).remember([TARGET])

    assert book_of(database).price_of("main/big", 0) == PRICE


def test_an_override_wins_and_survives_a_restart(database: Database) -> None:
    book_of(database).remember([TARGET])
    book_of(database).apply(Configuration({"main/big": FREE}), validate_only=False, by=OWNER)

    book = book_of(database)

    assert book.price_of("main/big", 0) == FREE
    assert [row.source for row in book.list_prices(["main/big"]).rows] == ["override"]


def test_sending_a_configuration_twice_changes_nothing(database: Database) -> None:
    book = book_of(database)
    wanted = Configuration({"lab/tiny": FREE}, {"ops": Channel("ops", url="json://localhost")})

    first = book.apply(wanted, validate_only=False, by=OWNER)

    assert [(change.action, change.kind, change.name) for change in first] == [
        (Action.CREATE, "price", "lab/tiny"),
        (Action.CREATE, "alert channel", "ops"),
    ]
    assert book.apply(wanted, validate_only=False, by=OWNER) == ()
    assert book_of(database).apply(wanted, validate_only=False, by=OWNER) == ()


def test_a_dry_run_says_what_would_change_and_changes_nothing(database: Database) -> None:
    book = book_of(database)

    assert len(book.apply(Configuration({"lab/tiny": FREE}), validate_only=True, by=OWNER)) == 1

    assert book.price_of("lab/tiny", 0) is None


def test_changes_name_what_differs_and_never_a_secret(database: Database) -> None:
    book = book_of(database)
    book.apply(
        Configuration({"lab/tiny": FREE, "lab/old": FREE}, {"ops": Channel("ops", url="json://user:hunter2@host")}),
        validate_only=False,
        by=OWNER,
    )

    dearer = flat_price(input_price=1, output=2, request_nano_usd=3)
    found = book.apply(
        Configuration({"lab/tiny": dearer}, {"ops": Channel("ops", url="json://user:hunter3@host")}),
        validate_only=False,
        by=OWNER,
    )

    assert [(change.action, change.name) for change in found] == [
        (Action.DELETE, "lab/old"),
        (Action.UPDATE, "lab/tiny"),
        (Action.UPDATE, "ops"),
    ]
    assert "hunter" not in repr(found)
    assert found[1].detail.startswith("input, output")


def test_the_version_changes_exactly_when_a_price_does(database: Database) -> None:
    book = book_of(database)
    book.remember([TARGET])
    before = book.list_prices(["main/big"]).version

    book.apply(Configuration(channels={"ops": Channel("ops", url="json://localhost")}), validate_only=False, by=OWNER)
    assert book.list_prices(["main/big"]).version == before

    book.apply(Configuration({"main/big": FREE}), validate_only=False, by=OWNER)
    assert book.list_prices(["main/big"]).version != before


def test_what_an_override_leaves_out_costs_as_documented_or_an_unknown_amount() -> None:
    (tier,) = flat_price(input_price=5, output=7).tiers
    assert [tier.rate(meter) for meter in (CACHED_INPUT, CACHE_WRITE_5M, REASONING)] == [5, 5, 7]
    assert tier.rate(CACHE_WRITE_1H) is None

    (tier,) = flat_price(input_price=5, output=7, cached_input=0, reasoning=0).tiers
    assert (tier.rate(CACHED_INPUT), tier.rate(REASONING)) == (0, 0)


def test_what_was_changed_is_in_the_audit_log_without_what_a_channel_keeps_secret(database: Database) -> None:
    by = Authorship(Actor("root", "platform"), "prices rose", "req-1")
    channels = {
        "chat": Channel("chat", url="slack://token-a/token-b"),
        "hook": Channel(
            "hook", webhook="https://user:hunter2@hooks.example/T000/secret?key=hunter3", secret_env="SIGN"
        ),
    }
    book_of(database).apply(Configuration({"lab/tiny": FREE}, channels), validate_only=False, by=by)
    dearer = {"lab/tiny": flat_price(input_price=1, output=2)}
    book_of(database).apply(Configuration(dearer, channels), validate_only=False, by=by)
    book_of(database).apply(Configuration(), validate_only=True, by=by)

    log = AuditLog(engine_of(database), audit_entries).page(ListAuditEntriesRequest()).audit_entries

    assert [(entry.action, entry.kind, entry.name) for entry in log] == [
        (AuditEntry.ACTION_UPDATE, RESOURCE_KIND_PRICE, "lab/tiny"),
        (AuditEntry.ACTION_CREATE, RESOURCE_KIND_ALERT_CHANNEL, "hook"),
        (AuditEntry.ACTION_CREATE, RESOURCE_KIND_ALERT_CHANNEL, "chat"),
        (AuditEntry.ACTION_CREATE, RESOURCE_KIND_PRICE, "lab/tiny"),
    ]
    assert {(entry.actor, entry.reason, entry.request_id) for entry in log} == {("root", "prices rose", "req-1")}
    assert json.loads(log[0].before)["tiers"][0]["output"] == 0
    assert json.loads(log[0].after)["tiers"][0]["output"] == 2
    assert json.loads(log[1].after) == {"name": "hook", "url": "", "webhook": "hooks.example", "secret_env": "SIGN"}
    assert json.loads(log[2].after) == {"name": "chat", "url": "slack", "webhook": "", "secret_env": ""}


def test_a_repeated_request_gets_its_answer_and_is_not_applied_over_a_newer_one(database: Database) -> None:
    by, book = asked(), book_of(database)
    first = book.apply(Configuration({"main/big": FREE}), validate_only=False, by=by)
    book.apply(Configuration(), validate_only=False, by=asked())

    survivor = book_of(database)

    assert survivor.apply(Configuration({"main/big": FREE}), validate_only=False, by=again(by)) == first
    assert first
    assert survivor.price_of("main/big", 0) is None
    entries = AuditLog(engine_of(database), audit_entries).page(ListAuditEntriesRequest()).audit_entries
    assert len(entries) == 2


def test_a_request_that_changed_nothing_is_remembered_and_a_trial_is_not(database: Database) -> None:
    nothing, trial, book = asked(), asked(), book_of(database)
    book.apply(Configuration({"main/big": FREE}), validate_only=True, by=trial)
    book.apply(Configuration(), validate_only=False, by=nothing)

    assert book.apply(Configuration({"main/big": FREE}), validate_only=False, by=again(trial))
    assert book.apply(Configuration(), validate_only=False, by=again(nothing)) == ()
    assert book.price_of("main/big", 0) == FREE
