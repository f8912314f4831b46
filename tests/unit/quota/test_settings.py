from __future__ import annotations

import pytest

from services.chassis.settings import Environ, SettingsError
from services.quota.settings import Settings

URL = "redis://:a-password@10.0.0.1:6379/0"


def settings(**variables: str) -> Settings:
    return Settings.from_environ(Environ({"SPENDGATE_DATA_DIR": "/data", **variables}))


def test_one_quota_keeps_its_counters_itself() -> None:
    made = settings()
    assert made.counters_url is None
    assert (made.check_address, made.admin_address) == ("unix:quota.sock", "unix:quota-admin.sock")


def test_each_of_several_has_sockets_of_its_own_and_they_share_a_redis() -> None:
    made = settings(SPENDGATE_COUNTERS=URL, SPENDGATE_QUOTA_REPLICAS="3", SPENDGATE_QUOTA_REPLICA="3")
    assert (made.number, made.quotas, made.counters_url) == (3, 3, URL)
    assert (made.check_address, made.admin_address) == ("unix:quota-3.sock", "unix:quota-admin-3.sock")
    assert "a-password" not in repr(made)


def test_several_quotas_that_share_no_counters_do_not_start() -> None:
    with pytest.raises(SettingsError, match=r"SPENDGATE_QUOTA_REPLICAS=2: .* set SPENDGATE_COUNTERS"):
        settings(SPENDGATE_QUOTA_REPLICAS="2")


@pytest.mark.parametrize("variable", ["SPENDGATE_QUOTA_REPLICAS", "SPENDGATE_QUOTA_REPLICA"])
@pytest.mark.parametrize("value", ["0", "17", "many"])
def test_a_number_out_of_range_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        settings(SPENDGATE_COUNTERS=URL, **{variable: value})
