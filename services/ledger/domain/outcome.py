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

Where the provider ended its answer itself, the status says whether it bills. A list names the errors after which
nothing is billed. Any other error may be billed:

    status                                     billed    why
    200 to 299                                 yes       the answer
    300 to 399                                 no        the server sends the request elsewhere; nobody follows
    400 to 406, 409 to 411, 413 to 415, 417,   no        the server rejects the request before a model sees it. Gemini
    421, 422, 426, 428, 429, 431, 451                    documents 400 as free; Azure documents 401 and 429
    400 with the error `content_filter`        may be    Azure bills a prompt that its filter stopped, and the output
                                                         written by then
    500, 501, 502, 503, 505                    no        Gemini documents 500 as free. OpenRouter sends an error status
                                                         only if no model started. For others this is an assumption
    521, 523, 525, 526                         no        Cloudflare reached no server behind it
    529                                        no        Anthropic is overloaded and does not begin
    408, 504, 524, 598, 599                    may be    a server or proxy ran out of time; the model may work on. Azure
                                                         bills 408. Anthropic sends 504 while it is processing
    any other                                  may be    for example 424 (Bedrock: the model failed), 499 (the client
                                                         left; Novita bills it), 520 (Cloudflare)

Sources: https://ai.google.dev/gemini-api/docs/billing ("Am I charged for failed requests?"),
https://learn.microsoft.com/azure/ai-services/openai/how-to/manage-costs ("HTTP Error response code and billing
status"), https://platform.claude.com/docs/en/api/errors, https://openrouter.ai/docs/api/reference/errors-and-debugging,
https://novita.ai/docs/guides/llm-billing. `docs/security.md` lists the assumptions.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a call, or one attempt of it, ended."""

    COMPLETED = "completed"
    """The provider ended its answer itself, with a success status."""
    REFUSED = "refused"
    """The provider answered with a status after which it bills nothing."""
    CLIENT_CANCELLED = "client_cancelled"
    """The client left before the answer was complete."""
    PROVIDER_CUT = "provider_cut"
    """The provider hung up before its answer was complete, or before there was any, or its answer carries an error."""
    TIMEOUT = "timeout"
    """The answer, or its head, did not come in time: to Envoy, or to a proxy of the provider."""
    UNKNOWN = "unknown"
    """There is no record of the end, or the record does not say: Envoy was killed or stopped, or nobody explains the
    status."""
    NEVER_SENT = "never_sent"
    """No provider saw the request."""


_NEVER_SENT = frozenset({"UF", "UO", "UH", "NR", "NC", "UAEX", "RL"})
"""Flags of a request that no provider saw: no connection, no room, no host, no route."""
_TIMEOUT = frozenset({"UT", "SI", "DT", "UMSDR"})
_CUT = frozenset({"UC", "UR", "UPE"})
_CLIENT = frozenset({"DC", "DR", "DPE"})
_OURS = frozenset({"LR"})
_ENDED_EARLY = _TIMEOUT | _CUT | _OURS

_UNBILLED_STATUSES = frozenset(
    {400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426, 428, 429, 431, 451}
    | {500, 501, 502, 503, 505, 521, 523, 525, 526, 529}
)
"""Errors after which a provider bills nothing. The module's table gives the reasons."""
_TIMEOUT_STATUSES = frozenset({408, 504, 524, 598, 599})
_BILLED_ERRORS = frozenset({"content_filter"})
"""Kinds of errors that are billed whatever their status."""

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
    return _of_status(status) if details == _BY_ITSELF else Outcome.UNKNOWN


def is_unbilled(status: int) -> bool:
    """Whether a provider that answers so bills nothing."""
    return 300 <= status < 400 or status in _UNBILLED_STATUSES


def is_billed_error(kind: str) -> bool:
    """Whether a provider bills a call that it refused with this kind of error, as named in the answer."""
    return kind in _BILLED_ERRORS


def began(*, status: int, details: str, outcome: Outcome) -> bool:
    """Whether the client got the provider's own status, so the answer had begun.

    If a call ended early, an error status is Envoy's own, or that of a proxy: the provider had sent none.
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
    return _of_status(status)


def _of_status(status: int) -> Outcome:
    """How an answer ended, given that its provider ended it."""
    if 200 <= status < 300:
        return Outcome.COMPLETED
    if is_unbilled(status):
        return Outcome.REFUSED
    return Outcome.TIMEOUT if status in _TIMEOUT_STATUSES else Outcome.UNKNOWN
