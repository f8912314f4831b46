"""The environment of each process: secrets go only where they are needed."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from services.chassis.installed import envoy_files
from services.chassis.sealed_text import KEY_FILE_VARIABLE, KEY_VARIABLE
from services.cli.gateway_address import TOKEN_VARIABLE
from services.cli.supervisor.envoy import FILES_VARIABLE
from services.cli.supervisor.settings import SupervisorSettings

_PASSED = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")
_PASSED_PREFIXES = ("LC_", "PYTHON", "OTEL_", "MALLOC_")
# glibc gives each thread a heap of its own, and each heap keeps what was freed in it. The threads of a service take
# turns anyway, so they share one. Who runs the gateway may still choose.
_ALLOCATOR = {"MALLOC_ARENA_MAX": "1"}
COUNTERS_VARIABLE = "SPENDGATE_COUNTERS"
_NUMBER_VARIABLE = "SPENDGATE_QUOTA_REPLICA"
# Variables by which the command line finds a gateway, which the gateway does not need, and variables only for quotas.
_HELD_BACK = ("SPENDGATE_ADMIN", TOKEN_VARIABLE, COUNTERS_VARIABLE, _NUMBER_VARIABLE)
# Only the router opens sealed credentials.
_FOR_ROUTER = (KEY_VARIABLE, KEY_FILE_VARIABLE)


def plain_environ(environ: Mapping[str, str], settings: SupervisorSettings) -> dict[str, str]:
    """Returns the environment of ledger and Envoy, and the base of the others': no variable that may hold a secret."""
    passed = {name: value for name, value in environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}
    held_back = (*_HELD_BACK, *_FOR_ROUTER)
    own = {name: value for name, value in environ.items() if name.startswith("SPENDGATE_") and name not in held_back}
    return {**_ALLOCATOR, **passed, **own, **_settings(environ, settings)}


def router_environ(environ: Mapping[str, str], settings: SupervisorSettings) -> dict[str, str]:
    """Returns the router's environment. It asks for the variables that its configuration names: `variable_server`."""
    keys = {name: environ[name] for name in _FOR_ROUTER if name in environ}
    return {**plain_environ(environ, settings), **keys}


def quota_environ(environ: Mapping[str, str], settings: SupervisorSettings, number: int) -> dict[str, str]:
    """Returns the environment of the quota with this number. Only quotas learn how to reach the counters."""
    variables = {**plain_environ(environ, settings), _NUMBER_VARIABLE: str(number)}
    if settings.counters_url is not None:
        variables[COUNTERS_VARIABLE] = settings.counters_url
    return variables


def service_command(name: str) -> tuple[str, ...]:
    """Returns the command of one of our services. With -P, no file in the working directory can replace a module."""
    return (sys.executable, "-P", "-m", f"services.{name}.main")


def _settings(environ: Mapping[str, str], settings: SupervisorSettings) -> dict[str, str]:
    variables = {
        "SPENDGATE_DATA_DIR": str(settings.data_dir),
        "SPENDGATE_LISTEN": settings.listen.bound,
        "SPENDGATE_ADMIN_LISTEN": settings.admin_listen.bound,
        "SPENDGATE_LOG_LEVEL": settings.log_level,
        "SPENDGATE_QUOTA_REPLICAS": str(settings.quotas),
        FILES_VARIABLE: environ.get(FILES_VARIABLE) or str(envoy_files()),
    }
    if settings.otlp_endpoint is not None:
        variables["SPENDGATE_OTLP_ENDPOINT"] = settings.otlp_endpoint
    if settings.tls is not None:
        variables["SPENDGATE_TLS_CERTIFICATE"] = str(settings.tls.certificate)
        variables["SPENDGATE_TLS_PRIVATE_KEY"] = str(settings.tls.private_key)
    return variables
