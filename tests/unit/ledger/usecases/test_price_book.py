from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.change import OWNER, Action
from services.kernel.clock import ManualClock
from services.kernel.price import Price
from services.ledger.adapters.sql_configuration import SqlConfiguration
from services.ledger.adapters.sql_database import Database
from services.ledger.domain.configuration import Channel, Configuration, PricedTarget, flat_price
from services.ledger.usecases.price_book import PriceBook
from tests.unit.ledger.lines import PRICE, open_database

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
    assert found[1].detail.startswith("input, cached_input")


def test_the_version_changes_exactly_when_a_price_does(database: Database) -> None:
    book = book_of(database)
    book.remember([TARGET])
    before = book.list_prices(["main/big"]).version

    book.apply(Configuration(channels={"ops": Channel("ops", url="json://localhost")}), validate_only=False, by=OWNER)
    assert book.list_prices(["main/big"]).version == before

    book.apply(Configuration({"main/big": FREE}), validate_only=False, by=OWNER)
    assert book.list_prices(["main/big"]).version != before


def test_what_an_override_leaves_out_costs_as_much_as_what_it_is_a_part_of() -> None:
    (tier,) = flat_price(input_price=5, output=7).tiers
    assert (tier.cached_input, tier.cache_write_5m, tier.cache_write_1h, tier.reasoning) == (5, 5, 5, 7)

    (tier,) = flat_price(input_price=5, output=7, cached_input=0, reasoning=0).tiers
    assert (tier.cached_input, tier.reasoning) == (0, 0)
