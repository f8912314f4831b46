"""How an exchange with a provider ended, for its cost.

Envoy reports it in two fields: response flags and response code details. The table was measured with Envoy 1.40, and
`tests/e2e/test_outcomes.py` keeps it true:

    how it ended                                        status     flags     details
    the provider ended its answer                       its own    -         via_upstream
    the client left, before or after the head           0, or its  DC        downstream_remote_disconnect
    the provider hung up before its head                503        UC        upstream_reset_before_response_started{..}
    the provider hung up within its answer              its own    UPE, UC   upstream_reset_after_response_started{..}
    no head in time (of one attempt)                    504        UT        upstream_per_try_timeout
    the call took too long, before the head             504        -         max_duration_timeout
    the call took too long, within the answer           its own    -         max_duration_timeout
    Envoy was stopped                                   its own    DC        downstream_local_disconnect(..)
    no connection, no room, no such cluster             503        UF, UO .. ..
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a call, or one attempt of it, ended."""

    COMPLETED = "completed"
    """The provider ended its answer itself, with a success status."""
    REFUSED = "refused"
    """The provider answered with another status."""
    CLIENT_CANCELLED = "client_cancelled"
    """The client left before the answer was complete."""
    PROVIDER_CUT = "provider_cut"
    """The provider hung up before its answer was complete, or before there was any."""
    TIMEOUT = "timeout"
    """The answer, or its head, did not come in time."""
    UNKNOWN = "unknown"
    """There is no record of the end, or the record does not say: Envoy was killed or stopped."""
    NEVER_SENT = "never_sent"
    """No provider saw the request."""


_NEVER_SENT = frozenset({"UF", "UO", "UH", "NR", "NC", "UAEX", "RL"})
"""Flags of a request that no provider saw: no connection, no room, no host, no route."""
_TIMEOUT = frozenset({"UT", "SI", "DT", "UMSDR"})
_CUT = frozenset({"UC", "UR", "UPE"})
_CLIENT = frozenset({"DC", "DR", "DPE"})
_OURS = frozenset({"LR"})
_ENDED_EARLY = _TIMEOUT | _CUT | _OURS

_BY_ITSELF = "via_upstream"
_AFTER_THE_HEAD = "upstream_reset_after_response_started"
_CLIENT_OR_ENVOY_LEFT = "downstream_"
_ENVOY_LEFT = "downstream_local_disconnect"
_BY_A_SCRIPT = "lua_response"


def outcome_of_call(*, status: int, flags: str, details: str, attempts: int) -> Outcome:
    """Returns how the last attempt of a call ended. `status` is what the client got, 0 for nothing."""
    raised = set(flags.split(","))
    if not attempts or raised & _NEVER_SENT or details == _BY_A_SCRIPT:
        return Outcome.NEVER_SENT
    if raised & _TIMEOUT or "timeout" in details:
        return Outcome.TIMEOUT
    if raised & _CUT or details.startswith("upstream_reset_"):
        return Outcome.PROVIDER_CUT
    if raised & _CLIENT and not details.startswith(_ENVOY_LEFT):
        return Outcome.CLIENT_CANCELLED
    if details != _BY_ITSELF:
        return Outcome.UNKNOWN
    return Outcome.COMPLETED if 200 <= status < 300 else Outcome.REFUSED


def began(*, status: int, details: str, outcome: Outcome) -> bool:
    """Whether the client got the provider's own status, so the answer had begun.

    If a call ended early, an error status is Envoy's own: the provider had sent none.
    """
    if not status or outcome is Outcome.NEVER_SENT:
        return False
    return status < 400 or outcome is Outcome.REFUSED or details.startswith((_AFTER_THE_HEAD, _CLIENT_OR_ENVOY_LEFT))


def outcome_of_attempt(*, status: int, flags: str, details: str, failure: str) -> Outcome:
    """Returns how an attempt ended, if another followed or the last one has its own line.

    `status` is 0 when none came. `failure` is Envoy's text for why the transport failed.
    """
    raised = set(flags.split(","))
    if raised & _NEVER_SENT or (failure and not raised & _ENDED_EARLY):
        return Outcome.NEVER_SENT
    if raised & _TIMEOUT or "timeout" in details:
        return Outcome.TIMEOUT
    if raised & _CUT or not status:
        return Outcome.PROVIDER_CUT
    return Outcome.COMPLETED if 200 <= status < 300 else Outcome.REFUSED
