"""Parsed lines of the spool: calls and their attempts.

Source of the format: `services.kernel.spool_contract.SpoolKey`. Envoy writes numbers as JSON numbers, or as strings
where they come from an expression. It writes an unknown value as null or "-", or leaves it out. Metadata has numbers
with a fraction of zero; those are integers by the time they arrive here.

An annotation gives the name that a field has in the line: `Annotated[str, SpoolKey.FLAGS]`. `LineReader` reads the
field by its type, and the column of the same name keeps it. A new field takes one line here, a column, and a field of
`pb.Call` if people should see it.

Calls and attempts are named tuples: a frozen dataclass this wide takes 5 us to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from services.kernel.endpoint import Operation
from services.kernel.spool_contract import AdmittedKey, RequestedKey, SpoolKey
from services.kernel.trace_context import CALL_SPAN, TraceContext, read_context, span_id
from services.kernel.usage import TOKEN_FOR_EACH_BYTE, Line, Usage
from services.ledger.domain.earlier_line import EarlierKey
from services.ledger.domain.line_fields import (
    LineReader,
    UnreadableLineError,
    plain,
    read_counts,
    read_texts,
    read_time_us,
    require,
)
from services.ledger.domain.line_usage import read_usage
from services.ledger.domain.outcome import Outcome, began, is_billed_error, outcome_of_attempt, outcome_of_call
from services.ledger.domain.reading import NOTHING_READ, Reading

_MOST_RETRY_DIGITS = 4
_FREE = frozenset(operation.value for operation in Operation if operation.is_free)


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a call, as the virtual key names it. Empty where the key names none."""

    key_id: Annotated[str, AdmittedKey.KEY_ID]
    key: Annotated[str, AdmittedKey.KEY]
    team: Annotated[str, AdmittedKey.TEAM]
    project: Annotated[str, AdmittedKey.PROJECT]
    environment: Annotated[str, AdmittedKey.ENVIRONMENT]
    user: Annotated[str, AdmittedKey.USER]


class SpooledAttempt(NamedTuple):
    """One try at one target."""

    request_id: Annotated[str, SpoolKey.REQUEST_ID]
    attempt: Annotated[int, SpoolKey.ATTEMPT]
    """1 for the first."""
    time_ms: int
    status: Annotated[int, SpoolKey.STATUS]
    """0 when no status came."""
    flags: Annotated[str, SpoolKey.FLAGS]
    details: Annotated[str, SpoolKey.DETAILS]
    duration_ms: Annotated[int, SpoolKey.DURATION_MS]
    first_byte_ms: Annotated[int, SpoolKey.FIRST_BYTE_MS]
    cluster: Annotated[str, SpoolKey.CLUSTER]
    failure: Annotated[str, SpoolKey.FAILURE]
    """Envoy's text for why the transport failed."""
    # Only for its span; no column keeps these.
    operation: Annotated[str, SpoolKey.OPERATION] = ""
    """A `services.kernel.endpoint.Operation`. Empty for a chat, and in all lines of earlier releases."""
    time_us: int = 0
    duration_us: Annotated[int, SpoolKey.DURATION_US] = 0
    """0 when unknown."""
    traceparent: Annotated[str, SpoolKey.TRACEPARENT] = ""
    """The header that the provider was sent."""

    @property
    def outcome(self) -> Outcome:
        """How the attempt ended."""
        return outcome_of_attempt(status=self.status, flags=self.flags, details=self.details, failure=self.failure)

    @property
    def is_unanswered(self) -> bool:
        """Whether the request went out and no answer came back, or one that may be billed all the same."""
        if not self.status:
            return self.outcome is not Outcome.NEVER_SENT
        return self.outcome in {Outcome.TIMEOUT, Outcome.UNKNOWN}

    @property
    def failure_kind(self) -> str:
        """Why no answer came: "refused", "timeout" or "reset". Empty when the provider answered."""
        if self.outcome is Outcome.NEVER_SENT:
            return "refused"
        if self.status:
            return ""
        return "timeout" if self.outcome is Outcome.TIMEOUT else "reset"


_ENDED_OR_LEFT = frozenset({Outcome.COMPLETED, Outcome.CLIENT_CANCELLED})


class SpooledCall(NamedTuple):
    """One request of a client, over all its attempts."""

    # Fields as in the line. A field without a default is in every line.
    request_id: Annotated[str, SpoolKey.REQUEST_ID]
    reservation: Annotated[str, SpoolKey.RESERVATION]
    """Empty when the gateway ended the request before quota's answer reached it."""
    time_ms: int
    caller: Caller
    expected: Usage
    """Usage to book for an answer that nobody counted."""
    model_requested: Annotated[str, RequestedKey.MODEL] = ""
    """As quota admitted it. Where quota did not answer: as the client asked for it."""
    chain: Annotated[tuple[str, ...], AdmittedKey.CHAIN] = ()
    """ "provider/model" of each attempt that was allowed, in order."""
    status: Annotated[int, SpoolKey.STATUS] = 0
    """Status that the client got; 0 for none."""
    flags: Annotated[str, SpoolKey.FLAGS] = ""
    details: Annotated[str, SpoolKey.DETAILS] = ""
    duration_ms: Annotated[int, SpoolKey.DURATION_MS] = 0
    first_byte_ms: Annotated[int, SpoolKey.FIRST_BYTE_MS] = 0
    attempts: Annotated[int, SpoolKey.ATTEMPTS] = 0
    bytes_sent: Annotated[int, SpoolKey.BYTES_SENT] = 0
    decision: Annotated[str, AdmittedKey.DECISION] = ""
    downgraded: Annotated[str, AdmittedKey.DOWNGRADED] = ""
    """Why another target led than the model's first."""
    left_out: Annotated[str, AdmittedKey.LEFT_OUT] = ""
    """Targets that could not carry the call, in the form of `AdmittedKey.LEFT_OUT`."""
    policy: Annotated[str, AdmittedKey.POLICY] = ""
    held_input_tokens: Annotated[int, AdmittedKey.HELD_INPUT_TOKENS] = 0
    """The most input that one attempt can take; 0 when unknown, or when tokens do not bound its cost."""
    held_output_tokens: Annotated[int, AdmittedKey.HELD_OUTPUT_TOKENS] = 0
    """Output tokens that were reserved; 0 when unknown. No estimate exceeds it."""
    stopping: Annotated[tuple[str, ...], AdmittedKey.STOPS_ON_DISCONNECT] = ()
    """Targets of `chain` whose provider is declared to stop when its client hangs up."""
    dialect: Annotated[str, RequestedKey.DIALECT] = ""
    operation: Annotated[str, RequestedKey.OPERATION] = ""
    """A `services.kernel.endpoint.Operation`; empty if no line says what was asked."""
    stream: Annotated[bool, RequestedKey.STREAM] = False
    features: Annotated[str, RequestedKey.FEATURES] = ""
    body_bytes: Annotated[int, RequestedKey.BODY_BYTES] = 0
    body_print: Annotated[str, RequestedKey.BODY_PRINT] = ""
    """Fingerprint of the body, empty when the spool has none."""
    tags: Annotated[str, AdmittedKey.TAGS] = ""
    run: Annotated[str, AdmittedKey.RUN] = ""
    trace_id: Annotated[str, EarlierKey.TRACE_ID] = ""
    span_id: Annotated[str, EarlierKey.SPAN_ID] = ""
    traceparent: Annotated[str, AdmittedKey.TRACEPARENT] = ""
    """Where quota did not answer, the client's own header."""
    decided: Annotated[str, AdmittedKey.DECIDED] = ""
    """For the decision's span: JSON with `DecidedKey`."""
    duration_us: Annotated[int, SpoolKey.DURATION_US] = 0
    """0 when unknown."""
    client_request_id: Annotated[str, SpoolKey.CLIENT_REQUEST_ID] = ""
    sdk_retry: Annotated[str, SpoolKey.SDK_RETRY] = ""
    """The client's SDK reports here how often it had sent this request before."""
    protocol: Annotated[str, SpoolKey.PROTOCOL] = ""
    """The client's protocol, as Envoy names it."""
    dropped: Annotated[str, SpoolKey.DROPPED] = ""
    """Dropped headers, in the form of `AttemptKey.DROPPED`."""
    unknown_members: Annotated[str, AdmittedKey.UNKNOWN_MEMBERS] = ""
    """Unknown members and headers of the request, in the form of `AdmittedKey.UNKNOWN_MEMBERS`."""
    price_options: Annotated[str, AdmittedKey.PRICE_OPTIONS] = ""
    """Requested options that change the price, in the same form."""
    response_model: Annotated[str, EarlierKey.RESPONSE_MODEL] = ""
    """As the answer names it."""
    # Attributes that combine several fields.
    time_us: int = 0
    trace: TraceContext | None = None
    """Its place in its trace, as quota found it. None where quota did not answer, and in lines of earlier releases."""
    prefixes: tuple[str, ...] = ("", "", "", "")
    """Fingerprints of the first 1, 4, 16 and 64 KB of the conversation; empty where it is shorter."""
    usage: Usage | None = None
    """The provider's own count. None when there is none, or it was cut short."""
    reading: Reading = NOTHING_READ
    """All that the meter read in the answer, even of one that ended early."""
    answer: Line = TOKEN_FOR_EACH_BYTE
    """How many tokens the visible text of an answer makes."""

    @property
    def is_free(self) -> bool:
        """Whether no vendor charges for it."""
        return self.operation in _FREE

    @property
    def retry_count(self) -> int:
        """`sdk_retry` as a number."""
        return times_sent_before(self.sdk_retry)

    @property
    def outcome(self) -> Outcome:
        """How the last attempt ended."""
        how = outcome_of_call(status=self.status, flags=self.flags, details=self.details, attempts=self.attempts)
        if how in _ENDED_OR_LEFT and self.reading.error:
            # SDKs hang up at an error.
            return Outcome.PROVIDER_CUT
        if how is Outcome.CLIENT_CANCELLED and self.usage is not None:
            # SDKs hang up at the last event.
            return Outcome.COMPLETED
        if how is Outcome.COMPLETED and self.usage is None and self.reading.is_open:
            return Outcome.PROVIDER_CUT
        if how is Outcome.REFUSED and is_billed_error(self.reading.error):
            # It was stopped on its way, after a model or a filter had worked.
            return Outcome.PROVIDER_CUT
        return how

    @property
    def provider_stops(self) -> bool:
        """Whether the provider of the last attempt is declared to stop when its client hangs up."""
        return 1 <= self.attempts <= len(self.chain) and self.chain[self.attempts - 1] in self.stopping

    @property
    def began(self) -> bool:
        """Whether the status is the provider's own, so its answer had begun."""
        return began(status=self.status, details=self.details, outcome=self.outcome)


def times_sent_before(sdk_retry: str) -> int:
    """Parses the number that an SDK sent; 0 when it is not a number."""
    is_number = sdk_retry.isascii() and sdk_retry.isdecimal() and len(sdk_retry) <= _MOST_RETRY_DIGITS
    return int(sdk_retry) if is_number else 0


_MOST_ATTEMPTS = 1_000
_ATTEMPT = LineReader(SpooledAttempt)
_CALL = LineReader(SpooledCall)
_CALLER = LineReader(Caller)
# The parts of attributes that combine several fields.
_MORE_TEXTS = plain(
    AdmittedKey.MODEL, RequestedKey.PREFIX_1K, RequestedKey.PREFIX_4K, RequestedKey.PREFIX_16K, RequestedKey.PREFIX_64K
)
_MORE_COUNTS = plain(
    AdmittedKey.EXPECTED_INPUT_TOKENS,
    AdmittedKey.EXPECTED_OUTPUT_TOKENS,
    AdmittedKey.ANSWER_TOKENS,
    AdmittedKey.ANSWER_MICROTOKENS_PER_BYTE,
)


def parse_line(fields: Mapping[str, object]) -> SpooledCall | SpooledAttempt:
    """Parses the fields of one line.

    Raises:
        UnreadableLineError: a field is missing, of a wrong type or out of range.
    """
    kind = fields.get(SpoolKey.KIND)
    if kind == "call":
        return _parse_call(fields)
    if kind == "attempt":
        return _parse_attempt(fields)
    raise UnreadableLineError(f"{SpoolKey.KIND} is neither call nor attempt")


def _parse_attempt(fields: Mapping[str, object]) -> SpooledAttempt:
    time_us = read_time_us(fields)
    attempt = SpooledAttempt(**_ATTEMPT.read(fields), time_ms=time_us // 1_000, time_us=time_us)
    require(attempt.request_id, SpoolKey.REQUEST_ID)
    if not 1 <= attempt.attempt <= _MOST_ATTEMPTS:
        raise UnreadableLineError(f"{SpoolKey.ATTEMPT} is not a number of an attempt")
    return attempt


def _parse_call(fields: Mapping[str, object]) -> SpooledCall:
    read = _CALL.read(fields)
    require(read["request_id"], SpoolKey.REQUEST_ID)
    admitted_model, *prefixes = read_texts(fields, _MORE_TEXTS)
    expected_input, expected_output, *answer = read_counts(fields, _MORE_COUNTS)
    reading = read_usage(fields, read["features"], read["response_model"])
    read["model_requested"] = admitted_model or read["model_requested"]
    if read["dialect"]:
        # The body was read. A chat has no mark.
        read["operation"] = read["operation"] or Operation.CHAT.value
    read["response_model"] = reading.model
    trace = read_context(read["traceparent"]) if read["reservation"] else None
    if trace is not None:
        read["trace_id"], read["span_id"] = trace.trace_id, span_id(CALL_SPAN, read["request_id"])
    time_us = read_time_us(fields)
    return SpooledCall(
        **read,
        time_ms=time_us // 1_000,
        time_us=time_us,
        trace=trace,
        caller=Caller(**_CALLER.read(fields)),
        expected=Usage(input_tokens=expected_input, output_tokens=expected_output),
        prefixes=tuple(prefixes),
        usage=reading.usage,
        reading=reading,
        answer=Line(*answer) if any(answer) else TOKEN_FOR_EACH_BYTE,
    )
