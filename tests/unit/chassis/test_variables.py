from __future__ import annotations

import pytest

from services.chassis.settings import SettingsError
from services.chassis.variables import VARIABLES, refuse_unknown_variables


def test_one_environment_serves_all_processes() -> None:
    refuse_unknown_variables({**dict.fromkeys(VARIABLES, "1"), "PATH": "/bin", "OPENAI_API_KEY": "sk-1"})


def test_a_name_that_nothing_reads_is_refused_with_what_it_was_meant_to_be_and_without_its_value() -> None:
    with pytest.raises(SettingsError) as refused:
        refuse_unknown_variables({"SPENDGATE_QUOTA_REPLICA": "1", "SPENDGATE_QUOTAS_REPLICAS": "redis://:secret@h"})
    assert "no variable 'SPENDGATE_QUOTAS_REPLICAS': did you mean 'SPENDGATE_QUOTA_REPLICAS'?" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_each_of_several_is_named() -> None:
    with pytest.raises(SettingsError, match=r"SPENDGATE_LISTNE.*SPENDGATE_TOKN"):
        refuse_unknown_variables({"SPENDGATE_TOKN": "x", "SPENDGATE_LISTNE": "y"})


def test_an_empty_value_counts_as_absent() -> None:
    refuse_unknown_variables({"SPENDGATE_LISTNE": " "})
