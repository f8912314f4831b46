from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.installed import envoy_files
from services.chassis.settings import Environ, SettingsError
from services.router.settings import Settings


def settings(**variables: str) -> Settings:
    return Settings.from_environ(Environ({"SPENDGATE_DATA_DIR": "/data", **variables}))


def test_the_defaults_need_a_data_directory_only() -> None:
    made = settings()
    assert made.envoy_files == envoy_files()
    assert (made.node.data_host, made.node.data_port, made.node.admin_port) == ("127.0.0.1", 10_000, 10_001)
    assert (made.node.spool_dir, made.node.log_dir) == ("/data/spool", "/data/logs")


def test_a_cluster_retires_after_the_longest_time_that_a_request_can_live() -> None:
    made = settings()
    assert made.retire_after_ms == made.node.max_stream_seconds * 1_000


def test_all_can_be_set() -> None:
    made = settings(
        SPENDGATE_LISTEN="[::1]:1",
        SPENDGATE_ADMIN_LISTEN="127.0.0.2:2",
        SPENDGATE_ENVOY_FILES="/elsewhere",
        SPENDGATE_RETIRE_AFTER_S="1",
        SPENDGATE_CHECK_TIMEOUT_MS="50",
        SPENDGATE_MAX_STREAM_S="60",
        SPENDGATE_TLS_CERTIFICATE="/c",
        SPENDGATE_TLS_PRIVATE_KEY="/k",
        SPENDGATE_PROVIDER_ROOTS="/r",
    )
    assert (made.node.data_host, made.node.data_port) == ("::1", 1)
    assert (made.node.admin_host, made.node.admin_port) == ("127.0.0.2", 2)
    assert (made.node.tls_certificate, made.node.tls_private_key, made.node.provider_roots) == ("/c", "/k", "/r")
    assert (made.envoy_files, made.retire_after_ms) == (Path("/elsewhere"), 1_000)
    assert (made.node.check_timeout_ms, made.node.max_stream_seconds) == (50, 60)


@pytest.mark.parametrize(
    "variables",
    [
        {"SPENDGATE_DATA_DIR": "relative"},
        {"SPENDGATE_LISTEN": "10000"},
        {"SPENDGATE_RETIRE_AFTER_S": "-1"},
        {"SPENDGATE_CHECK_TIMEOUT_MS": "0"},
    ],
)
def test_a_setting_that_cannot_be_read_is_named(variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(variables))):
        settings(**variables)
