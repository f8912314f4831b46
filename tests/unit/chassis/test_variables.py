from __future__ import annotations

import pytest

from services.chassis.settings import SettingsError
from services.chassis.variables import VARIABLES, refuse_unknown_variables


def test_one_environment_serves_all_processes() -> None:
    refuse_unknown_variables({**dict.fromkeys(VARIABLES, "1"), "PATH": "/bin", "OPENAI_API_KEY": "sk-1"})


def test_an_unknown_name_is_refused_with_the_name_that_was_meant_and_without_its_value() -> None:
    with pytest.raises(SettingsError) as refused:
        refuse_unknown_variables({"SPENDGATE_QUOTA_REPLICA": "1", "SPENDGATE_QUOTAS_REPLICAS": "redis://:secret@h"})
    assert "no variable 'SPENDGATE_QUOTAS_REPLICAS': did you mean 'SPENDGATE_QUOTA_REPLICAS'?" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_each_of_several_is_named() -> None:
    with pytest.raises(SettingsError, match=r"SPENDGATE_LISTNE.*SPENDGATE_TOKN"):
        refuse_unknown_variables({"SPENDGATE_TOKN": "x", "SPENDGATE_LISTNE": "y"})


def test_an_empty_value_counts_as_absent() -> None:
    refuse_unknown_variables({"SPENDGATE_LISTNE": " "})


@pytest.mark.parametrize("service", ["SPENDGATE", "SPENDGATE_QUOTA", "SPENDGATE_ADMIN_2"])
@pytest.mark.parametrize("address", ["10.96.0.12", "fd00::12"])
def test_variables_that_kubernetes_sets_for_a_service_of_that_name_are_ignored(service: str, address: str) -> None:
    url = f"tcp://{f'[{address}]' if ':' in address else address}:8080"
    refuse_unknown_variables(
        {
            f"{service}_SERVICE_HOST": address,
            f"{service}_SERVICE_PORT": "8080",
            f"{service}_SERVICE_PORT_HTTP_DATA": "8080",
            f"{service}_PORT": url,
            f"{service}_PORT_8080_TCP": url,
            f"{service}_PORT_8080_TCP_PROTO": "tcp",
            f"{service}_PORT_8080_TCP_PORT": "8080",
            f"{service}_PORT_8080_TCP_ADDR": address,
            f"{service}_PORT_53_UDP": url.replace("tcp", "udp"),
        }
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPENDGATE_PORT", "8080"),
        ("SPENDGATE_ADMIN_PORT", "10001"),
        ("SPENDGATE_PORT", "https://10.0.0.1:8080"),
        ("SPENDGATE_SERVICE_HOST", "gateway.example"),
        ("SPENDGATE_SERVICE_PORT", "http"),
        ("SPENDGATE_PORT_HTTP_TCP", "tcp://10.0.0.1:80"),
        ("SPENDGATE_PORT_8080_TCP_ADDRESS", "10.0.0.1"),
        ("SPENDGATE_SERVICE_HOSTS", "10.0.0.1"),
    ],
)
def test_a_name_or_value_that_only_resembles_those_of_kubernetes_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        refuse_unknown_variables({name: value})
