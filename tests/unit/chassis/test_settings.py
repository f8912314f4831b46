from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.settings import Environ, SettingsError, parse_address


def test_an_empty_variable_counts_as_absent() -> None:
    environ = Environ({"A": "  "})
    assert environ.optional("A") is None
    assert environ.text("A", "default") == "default"


def test_a_missing_variable_without_default_is_named() -> None:
    with pytest.raises(SettingsError, match="SPENDGATE_DATA_DIR is not set"):
        Environ({}).path("SPENDGATE_DATA_DIR")


def test_a_path_must_be_absolute() -> None:
    assert Environ({"P": "/var/lib"}).path("P") == Path("/var/lib")
    with pytest.raises(SettingsError, match="write an absolute path"):
        Environ({"P": "var/lib"}).path("P")


@pytest.mark.parametrize("value", ["ten", "1.5", "0", "101"])
def test_an_integer_out_of_range_is_refused_with_the_range(value: str) -> None:
    with pytest.raises(SettingsError, match=r"N=.*from 1 to 100"):
        Environ({"N": value}).integer("N", 5, low=1, high=100)


def test_an_absent_integer_takes_its_default() -> None:
    assert Environ({}).integer("N", 5, low=1, high=100) == 5


def test_addresses_are_split_at_the_last_colon() -> None:
    assert parse_address("--listen", "127.0.0.1:10000") == ("127.0.0.1", 10000)
    assert parse_address("--listen", "[::1]:0") == ("::1", 0)


@pytest.mark.parametrize("text", ["", "10000", ":10000", "host:", "host:port", "host:70000", "host:-1"])
def test_what_is_no_address_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--listen=.*write HOST:PORT"):
        parse_address("--listen", text)
