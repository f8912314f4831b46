"""How an exchange with a provider ended, as far as its cost goes.

Envoy says it in two fields: response flags, and response code details. What each says of each way to end was measured
with Envoy 1.40; `tests/e2e/test_outcomes.py` holds it to that:

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
    """The provider ended its answer itself, with a status of success."""
    REFUSED = "refused"
    """The provider answered with another status."""
    CLIENT_CANCELLED = "client_cancelled"
    """The client left before the answer was whole."""
    PROVIDER_CUT = "provider_cut"
    """The provider hung up before its answer was whole, or before there was any."""
    TIMEOUT = "timeout"
    """The answer, or its head, did not come in time."""
    UNKNOWN = "unknown"
    """There is no record of the end, or none that says it: Envoy was killed, or stopped."""
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
    """How the last attempt of a call ended. `status`: what the client was sent, 0 when nothing."""
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
    """Whether the status that the client was sent is the provider's: its answer had begun.

    An error status of a call that ended early is Envoy's own, written because the provider had sent none.
    """
    if not status or outcome is Outcome.NEVER_SENT:
        return False
    return status < 400 or outcome is Outcome.REFUSED or details.startswith((_AFTER_THE_HEAD, _CLIENT_OR_ENVOY_LEFT))


def outcome_of_attempt(*, status: int, flags: str, details: str, failure: str) -> Outcome:
    """How an attempt ended that another followed, or the last one as its own line tells it.

    `status`: 0 when none came. `failure`: Envoy's text for why the transport failed.
    """
    raised = set(flags.split(","))
    if raised & _NEVER_SENT or (failure and not raised & _ENDED_EARLY):
        return Outcome.NEVER_SENT
    if raised & _TIMEOUT or "timeout" in details:
        return Outcome.TIMEOUT
    if raised & _CUT or not status:
        return Outcome.PROVIDER_CUT
    return Outcome.COMPLETED if 200 <= status < 300 else Outcome.REFUSED
