"""Every variable that a process of the product reads.

A process reads those that its settings name, and accepts all of these, so that one environment serves the whole
product. Any other name with our prefix is a mistake. It is refused, because nobody should believe that it works.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.chassis.settings import SettingsError
from services.kernel.names import no_such

PREFIX = "SPENDGATE_"
VARIABLES = frozenset(
    {
        "SPENDGATE_ADMIN",
        "SPENDGATE_ADMIN_CA",
        "SPENDGATE_ADMIN_LISTEN",
        "SPENDGATE_CHECK_TIMEOUT_MS",
        "SPENDGATE_COUNTERS",
        "SPENDGATE_DATA_DIR",
        "SPENDGATE_DRIFT_CHECK_S",
        "SPENDGATE_ENVOY_FILES",
        "SPENDGATE_LISTEN",
        "SPENDGATE_LOG_LEVEL",
        "SPENDGATE_MAX_STREAM_S",
        "SPENDGATE_NEW_PEPPER",
        "SPENDGATE_OTLP_ENDPOINT",
        "SPENDGATE_PROVIDER_ROOTS",
        "SPENDGATE_QUOTA_REPLICA",
        "SPENDGATE_QUOTA_REPLICAS",
        "SPENDGATE_REFUSED_LOG_BYTES",
        "SPENDGATE_RETIRE_AFTER_S",
        "SPENDGATE_SIMULATOR_KEY",
        "SPENDGATE_SPOOL_FILE_BYTES",
        "SPENDGATE_SPOOL_KEEP_S",
        "SPENDGATE_TLS_CERTIFICATE",
        "SPENDGATE_TLS_PRIVATE_KEY",
        "SPENDGATE_TOKEN",
    }
)


def refuse_unknown_variables(variables: Mapping[str, str]) -> None:
    """Checks that every variable with our prefix is one of ours. Empty values count as absent.

    Raises:
        SettingsError: another one is set. The text names each and suggests the right name, but never shows a value.
    """
    unknown = sorted(
        name for name, value in variables.items() if name.startswith(PREFIX) and name not in VARIABLES and value.strip()
    )
    if unknown:
        told = "; ".join(no_such("variable", name, VARIABLES) for name in unknown)
        raise SettingsError(f"{told} Correct the name or unset it: nothing reads it")
