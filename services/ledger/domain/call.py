"""Parsed lines of the spool: calls and their attempts.

Source of the format: `services.kernel.spool_contract.SpoolKey`. Envoy writes numbers as JSON numbers, or as strings
where they come from an expression. It writes an unknown value as null or "-", or leaves it out. Metadata has numbers
with a fraction of zero; those are integers by the time they arrive here.

Calls and attempts are named tuples: a frozen dataclass this wide takes 5 us to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from services.kernel.envoy_contract import AdmissionKey, RequestKey
from services.kernel.spool_contract import SpoolKey, UsageKey
from services.kernel.usage import TOKEN_FOR_EACH_BYTE, Line, Usage
from services.ledger.domain.line_fields import (
    UnreadableLineError,
    is_known,
    read_counts,
    read_flag,
    read_texts,
    read_time_ms,
    required,
)
from services.ledger.domain.outcome import Outcome, began, outcome_of_attempt, outcome_of_call
from services.ledger.domain.reading import NOTHING_READ, Reading, ReadingState, read_answer

_MOST_RETRY_DIGITS = 4
_COMPLETE = frozenset({"1", "COMPLETE"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a call, as the virtual key names it. Empty where the key names none."""

    key_id: str
    key: str
    team: str
    project: str
    environment: str
    user: str


class SpooledAttempt(NamedTuple):
    """One try at one target."""

    request_id: str
    attempt: int
    """1 for the first."""
    time_ms: int
    status: int
    """0 when no status came."""
    flags: str
    details: str
    duration_ms: int
    first_byte_ms: int
    cluster: str
    failure: str
    """Envoy's text for why the transport failed."""

    @property
    def outcome(self) -> Outcome:
        """How the attempt ended."""
        return outcome_of_attempt(status=self.status, flags=self.flags, details=self.details, failure=self.failure)

    @property
    def is_unanswered(self) -> bool:
        """Whether the request went out and nothing came back. The provider may have done the work, and may bill it."""
        return not self.status and self.outcome is not Outcome.NEVER_SENT

    @property
    def failure_kind(self) -> str:
        """Why no answer came: "refused", "timeout" or "reset". Empty when the provider answered."""
        if self.outcome is Outcome.NEVER_SENT:
            return "refused"
        if self.status:
            return ""
        return "timeout" if self.outcome is Outcome.TIMEOUT else "reset"


class SpooledCall(NamedTuple):
    """One request of a client, over all its attempts."""

    request_id: str
    reservation: str
    """Empty when the gateway ended the request before quota's answer reached it."""
    time_ms: int
    status: int
    """Status that the client got; 0 for none."""
    flags: str
    details: str
    duration_ms: int
    first_byte_ms: int
    attempts: int
    bytes_sent: int
    caller: Caller
    model_requested: str
    chain: tuple[str, ...]
    """ "provider/model" of each attempt that was allowed, in order."""
    decision: str
    policy: str
    expected: Usage
    """Usage to book for an answer that nobody counted."""
    held_output_tokens: int
    """Output tokens that were reserved; 0 when unknown. No estimate exceeds it."""
    usage: Usage | None
    """The provider's own count. None when there is none, or it was cut short."""
    response_model: str
    dialect: str
    stream: bool
    features: str
    body_bytes: int
    tags: str
    run: str
    prefixes: tuple[str, ...]
    """Fingerprints of the first 1, 4, 16 and 64 KB of the conversation; empty where it is shorter."""
    trace_id: str
    span_id: str
    client_request_id: str
    sdk_retry: str
    """The client's SDK reports here how often it had sent this request before."""
    body_print: str
    """Fingerprint of the body, empty when the spool has none."""
    dropped: str = ""
    """Dropped headers, in the form of `AttemptKey.DROPPED`."""
    reading: Reading = NOTHING_READ
    """All that the meter read in the answer, even of one that ended early."""
    held_input_tokens: int = 0
    """The most input that one attempt can take; 0 when unknown, or when tokens do not bound its cost."""
    answer: Line = TOKEN_FOR_EACH_BYTE
    """How many tokens the visible text of an answer makes."""
    stopping: tuple[str, ...] = ()
    """Targets of `chain` whose provider is declared to stop when its client hangs up."""
    protocol: str = ""
    """The client's protocol, as Envoy names it."""
    unknown_members: str = ""
    """Unknown members and headers of the request, in the form of `AdmissionKey.UNKNOWN_MEMBERS`."""
    price_options: str = ""
    """Requested options that change the price, in the same form."""

    @property
    def retry_count(self) -> int:
        """`sdk_retry` as a number."""
        return times_sent_before(self.sdk_retry)

    @property
    def outcome(self) -> Outcome:
        """How the last attempt ended."""
        how = outcome_of_call(status=self.status, flags=self.flags, details=self.details, attempts=self.attempts)
        if how is Outcome.CLIENT_CANCELLED and self.usage is not None:
            # SDKs hang up at the last event.
            return Outcome.COMPLETED
        if how is Outcome.COMPLETED and self.usage is None and (self.reading.error or self.reading.is_open):
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


def _names(*keys: StrEnum) -> tuple[str, ...]:
    """Returns plain strings: members of an enumeration are twice as slow as dictionary keys."""
    return tuple(key.value for key in keys)


_MOST_ATTEMPTS = 1_000
_ATTEMPT_TEXTS = _names(SpoolKey.REQUEST_ID, SpoolKey.FLAGS, SpoolKey.DETAILS, SpoolKey.CLUSTER, SpoolKey.FAILURE)
_ATTEMPT_COUNTS = _names(SpoolKey.ATTEMPT, SpoolKey.STATUS, SpoolKey.DURATION_MS, SpoolKey.FIRST_BYTE_MS)
_CALLER_TEXTS = _names(
    AdmissionKey.KEY_ID,
    AdmissionKey.KEY,
    AdmissionKey.TEAM,
    AdmissionKey.PROJECT,
    AdmissionKey.ENVIRONMENT,
    AdmissionKey.USER,
)
_PREFIX_TEXTS = _names(RequestKey.PREFIX_1K, RequestKey.PREFIX_4K, RequestKey.PREFIX_16K, RequestKey.PREFIX_64K)
_CALL_TEXTS = _names(
    SpoolKey.REQUEST_ID,
    AdmissionKey.RESERVATION,
    SpoolKey.FLAGS,
    SpoolKey.DETAILS,
    AdmissionKey.MODEL,
    SpoolKey.MODEL_REQUESTED,
    AdmissionKey.CHAIN,
    AdmissionKey.DECISION,
    AdmissionKey.POLICY,
    SpoolKey.RESPONSE_MODEL,
    RequestKey.DIALECT,
    RequestKey.FEATURES,
    AdmissionKey.TAGS,
    AdmissionKey.RUN,
    SpoolKey.TRACE_ID,
    SpoolKey.SPAN_ID,
    SpoolKey.CLIENT_REQUEST_ID,
    SpoolKey.SDK_RETRY,
    RequestKey.BODY_PRINT,
)
# Kept apart because they may be long. The other texts are short even together.
_LATER_TEXTS = _names(
    SpoolKey.DROPPED,
    AdmissionKey.STOPS_ON_DISCONNECT,
    SpoolKey.PROTOCOL,
    AdmissionKey.UNKNOWN_MEMBERS,
    AdmissionKey.PRICE_OPTIONS,
)
_CALL_COUNTS = _names(
    SpoolKey.STATUS,
    SpoolKey.DURATION_MS,
    SpoolKey.FIRST_BYTE_MS,
    SpoolKey.ATTEMPTS,
    SpoolKey.BYTES_SENT,
    RequestKey.BODY_BYTES,
    AdmissionKey.EXPECTED_INPUT_TOKENS,
    AdmissionKey.EXPECTED_OUTPUT_TOKENS,
    AdmissionKey.HELD_OUTPUT_TOKENS,
    AdmissionKey.HELD_INPUT_TOKENS,
    AdmissionKey.ANSWER_TOKENS,
    AdmissionKey.ANSWER_MICROTOKENS_PER_BYTE,
)
_FIGURES_BEFORE = {
    SpoolKey.INPUT_TOKENS.value: UsageKey.INPUT_TOKENS.value,
    SpoolKey.OUTPUT_TOKENS.value: UsageKey.OUTPUT_TOKENS.value,
    SpoolKey.CACHED_TOKENS.value: UsageKey.CACHED_TOKENS.value,
    SpoolKey.CACHE_CREATION_TOKENS.value: UsageKey.CACHE_WRITE_TOKENS.value,
    SpoolKey.REASONING_TOKENS.value: UsageKey.REASONING_TOKENS.value,
}
"""Fields that the previous release wrote where there is one object now."""


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
    request_id, flags, details, cluster, failure = read_texts(fields, _ATTEMPT_TEXTS)
    attempt, status, duration_ms, first_byte_ms = read_counts(fields, _ATTEMPT_COUNTS)
    if not 1 <= attempt <= _MOST_ATTEMPTS:
        raise UnreadableLineError(f"{SpoolKey.ATTEMPT} is not a number of an attempt")
    return SpooledAttempt(
        request_id=required(request_id, SpoolKey.REQUEST_ID),
        attempt=attempt,
        time_ms=read_time_ms(fields),
        status=status,
        flags=flags,
        details=details,
        duration_ms=duration_ms,
        first_byte_ms=first_byte_ms,
        cluster=cluster,
        failure=failure,
    )


def _parse_call(fields: Mapping[str, object]) -> SpooledCall:
    request_id, reservation, flags, details, *texts = read_texts(fields, _CALL_TEXTS)
    model, model_requested, chain, decision, policy, response_model, dialect, features, tags, run, *texts = texts
    trace_id, span_id, client_request_id, sdk_retry, body_print = texts
    status, duration_ms, first_byte_ms, attempts, bytes_sent, body_bytes, *counts = read_counts(fields, _CALL_COUNTS)
    expected_input, expected_output, held_output, held_input, *answer = counts
    dropped, stopping, protocol, unknown_members, price_options = read_texts(fields, _LATER_TEXTS)
    reading = _reading(fields, features, response_model)
    return SpooledCall(
        request_id=required(request_id, SpoolKey.REQUEST_ID),
        reservation=reservation,
        time_ms=read_time_ms(fields),
        status=status,
        flags=flags,
        details=details,
        duration_ms=duration_ms,
        first_byte_ms=first_byte_ms,
        attempts=attempts,
        bytes_sent=bytes_sent,
        caller=Caller(*read_texts(fields, _CALLER_TEXTS)),
        model_requested=model or model_requested,
        chain=tuple(chain.split(",")) if chain else (),
        decision=decision,
        policy=policy,
        expected=Usage(input_tokens=expected_input, output_tokens=expected_output),
        held_output_tokens=held_output,
        usage=reading.usage,
        response_model=reading.model,
        dialect=dialect,
        stream=read_flag(fields, RequestKey.STREAM),
        features=features,
        body_bytes=body_bytes,
        tags=tags,
        run=run,
        prefixes=tuple(read_texts(fields, _PREFIX_TEXTS)),
        trace_id=trace_id,
        span_id=span_id,
        client_request_id=client_request_id,
        sdk_retry=sdk_retry,
        body_print=body_print,
        dropped=dropped,
        reading=reading,
        held_input_tokens=held_input,
        answer=Line(*answer) if any(answer) else TOKEN_FOR_EACH_BYTE,
        stopping=tuple(stopping.split(",")) if stopping else (),
        protocol=protocol,
        unknown_members=unknown_members,
        price_options=price_options,
    )


def _reading(fields: Mapping[str, object], features: str, response_model: str) -> Reading:
    told = fields.get(SpoolKey.USAGE.value)
    if isinstance(told, Mapping):
        return read_answer(told)
    if is_known(told):
        raise UnreadableLineError(f"{SpoolKey.USAGE} is not an object")
    return _reading_before(fields, features, response_model)


def _reading_before(fields: Mapping[str, object], features: str, response_model: str) -> Reading:
    """What the release before wrote, when Envoy's own meter had read all of it.

    That one did not tell for how long a provider caches: for an hour if the request asks for that, else for five
    minutes.
    """
    if str(fields.get(SpoolKey.USAGE_STATUS)) not in _COMPLETE:
        return Reading(model=response_model)
    counts = read_counts(fields, tuple(_FIGURES_BEFORE))
    known = {
        figure: count
        for (name, figure), count in zip(_FIGURES_BEFORE.items(), counts, strict=True)
        if is_known(fields.get(name))
    }
    written = known.get(UsageKey.CACHE_WRITE_TOKENS)
    if written and "cache_1h" in features.split(","):
        known[UsageKey.CACHE_WRITE_1H_TOKENS] = written
    return Reading(ReadingState.WHOLE, known, response_model)
