"""Every variable that a process of the product reads.

A process reads those that its settings name, and accepts all of these, so that one environment serves the whole
product. Any other name with our prefix is a mistake. It is refused, because nobody should believe that it works.
"""

from __future__ import annotations

import re
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
        "SPENDGATE_CREDENTIALS_KEY",
        "SPENDGATE_CREDENTIALS_KEY_FILE",
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
        "SPENDGATE_TRACE_SAMPLING",
    }
)

_ADDRESS, _PORT, _PROTOCOL = r"[0-9a-fA-F.:]+", r"\d{1,5}", r"(?:tcp|udp|sctp)"
_URL = rf"{_PROTOCOL}://(?:\[{_ADDRESS}\]|{_ADDRESS}):{_PORT}"
_LINK = r"_PORT_\d{1,5}_(?:TCP|UDP|SCTP)"
_SERVICE_LINKS = tuple(
    (re.compile(rf"SPENDGATE(?:_[A-Z0-9]+)*?{name}"), re.compile(value))
    for name, value in (
        ("_SERVICE_HOST", _ADDRESS),
        ("_SERVICE_PORT(?:_[A-Z0-9]+)*", _PORT),
        ("_PORT", _URL),
        (_LINK, _URL),
        (f"{_LINK}_PROTO", _PROTOCOL),
        (f"{_LINK}_PORT", _PORT),
        (f"{_LINK}_ADDR", _ADDRESS),
    )
)
"""Names and values that Kubernetes gives the pods beside a service, unless they say `enableServiceLinks: false`.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""


def refuse_unknown_variables(variables: Mapping[str, str]) -> None:
    """Checks that every variable with our prefix is one of ours. Empty values count as absent.

    What Kubernetes sets for services that are called `spendgate` or `spendgate-...` is passed over.

    Raises:
        SettingsError: another one is set. The text names each and suggests the right name, but never shows a value.
    """
    unknown = sorted(
        name
        for name, value in variables.items()
        if name.startswith(PREFIX) and name not in VARIABLES and value.strip() and not _is_service_link(name, value)
    )
    if unknown:
        unknown_names = "; ".join(no_such("variable", name, VARIABLES) for name in unknown)
        raise SettingsError(f"{unknown_names} Correct the name or unset it: nothing reads it")


def _is_service_link(name: str, value: str) -> bool:
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SERVICE_LINKS)
