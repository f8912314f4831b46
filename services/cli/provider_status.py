"""Shows a provider, and how it takes the gateway's credential."""

from __future__ import annotations

from spendgate.router.v1 import router_service_pb2 as router
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_names
from services.cli.times import optional_rfc3339, readable_time

_DIALECTS = enum_names(dialect_pb2.Dialect)


def provider_document(provider: router.Provider) -> dict[str, object]:
    """A provider as a document."""
    refusal = provider.credential_refusal if provider.HasField("credential_refusal") else None
    return {
        "name": provider.name,
        "preset": provider.preset or None,
        "protocol": _DIALECTS.get(provider.protocol),
        "base_url": provider.base_url or None,
        "credential_problem": provider.credential_problem or None,
        "credential_refusal": None if refusal is None else _refusal(refusal),
        "allowed_headers": list(provider.headers.allow),
        "stops_on_disconnect": provider.stops_on_disconnect,
    }


def provider_row(provider: router.Provider) -> tuple[str, str, str, str]:
    """A provider in a table: its name, what it speaks, its address, and how its credential fares."""
    credential = provider.credential_problem or "found"
    if provider.HasField("credential_refusal") and not provider.credential_problem:
        credential = refusal_text(provider.credential_refusal)
    speaks = provider.preset or _DIALECTS.get(provider.protocol, "")
    return provider.name, speaks, provider.base_url or "-", credential


def refusal_text(refusal: router.CredentialRefusal) -> str:
    """What a provider said to its credential."""
    times = "once" if refusal.attempts == 1 else f"{refusal.attempts} times"
    return (
        f"refused by the provider with status {refusal.status}, {times} since "
        f"{readable_time(refusal.first_time)} UTC, and it served no call since"
    )


def _refusal(refusal: router.CredentialRefusal) -> dict[str, object]:
    return {
        "status": refusal.status,
        "attempts": refusal.attempts,
        "first_at": optional_rfc3339(refusal, "first_time"),
        "last_at": optional_rfc3339(refusal, "last_time"),
    }
