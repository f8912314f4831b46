from __future__ import annotations

import pytest

from services.chassis.settings import Environ, SettingsError
from services.chassis.trace_settings import TraceSettings, read_trace_settings
from services.kernel.trace_context import ALWAYS, BY_CLIENT, NEVER, Sampling

RECEIVER = {"SPENDGATE_OTLP_ENDPOINT": "127.0.0.1:4317"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, TraceSettings(None, NEVER)),
        ({"SPENDGATE_TRACE_SAMPLING": "always"}, TraceSettings(None, NEVER)),
        (RECEIVER, TraceSettings("127.0.0.1:4317", ALWAYS)),
        (RECEIVER | {"SPENDGATE_TRACE_SAMPLING": "client"}, TraceSettings("127.0.0.1:4317", BY_CLIENT)),
        (RECEIVER | {"SPENDGATE_TRACE_SAMPLING": "5%"}, TraceSettings("127.0.0.1:4317", Sampling(5))),
    ],
)
def test_every_trace_is_recorded_unless_told_otherwise_and_none_without_a_receiver(
    variables: dict[str, str], expected: TraceSettings
) -> None:
    assert read_trace_settings(Environ(variables)) == expected


@pytest.mark.parametrize(
    ("variable", "value"), [("SPENDGATE_OTLP_ENDPOINT", "nowhere"), ("SPENDGATE_TRACE_SAMPLING", "sometimes")]
)
def test_a_setting_that_cannot_be_read_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}='{value}'"):
        read_trace_settings(Environ(RECEIVER | {variable: value}))
