"""Traces: which one a request belongs to, whether it is recorded, and the ids of its spans.

Quota decides for each call and tells Envoy. The ledger, which writes all spans, decides in the same way for requests
that quota never saw. Nothing here is random, so both get the same result, and a line that is read twice makes the same
spans.

Source of the header: W3C Trace Context (https://www.w3.org/TR/trace-context-2/).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HEADER = re.compile(r"(?P<version>[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?P<more>-[^,]*)?")
_ADMITTED = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0([0-3])")
_REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED, _RANDOM = 1, 2
# The part of a trace id that is random in every version of the standard, and in Envoy's request ids.
_RANDOM_DIGITS = 14
_SHARE = re.compile(r"([1-9][0-9]?)%")

ATTEMPTS_MAX = 0xEFFF
"""Spans of attempts have the numbers from 1 to this."""
CALL_SPAN, DECISION_SPAN, COST_SPAN = 0xF000, 0xF001, 0xF002
"""The numbers of the other spans of a request."""


class Parent(NamedTuple):
    """The client's span, as its `traceparent` names it."""

    trace_id: str
    """32 digits in lower-case hex, not all zero."""
    span_id: str
    """16 digits."""
    flags: int
    """Only those that we pass on."""

    @property
    def sampled(self) -> bool:
        """Whether the client says that it records the trace."""
        return self.flags & _SAMPLED == _SAMPLED


class Sampling(NamedTuple):
    """Which traces the gateway records."""

    percent: int = 100
    """The share of all traces, chosen by their ids. Several gateways choose the same ones."""
    by_client: bool = False
    """A client that names its trace decides itself."""

    def records(self, trace_id: str, parent: Parent | None) -> bool:
        """Whether the gateway records this trace."""
        if self.by_client and parent is not None:
            return parent.sampled
        if self.percent in (0, 100):
            return self.percent == 100
        return int(trace_id[-_RANDOM_DIGITS:], 16) * 100 < self.percent << (4 * _RANDOM_DIGITS)


ALWAYS = Sampling()
NEVER = Sampling(percent=0)
BY_CLIENT = Sampling(by_client=True)


class TraceContext(NamedTuple):
    """The place of a request in its trace."""

    trace_id: str
    parent_id: str
    """The client's span, 16 digits in hex. Empty: the trace begins here."""
    flags: int = 0

    @property
    def recorded(self) -> bool:
        """Whether its spans are recorded."""
        return self.flags & _SAMPLED == _SAMPLED

    def __str__(self) -> str:
        """Formats it like a `traceparent`, with a span id of zeros if it has no parent."""
        return f"00-{self.trace_id}-{self.parent_id or _NO_SPAN}-{self.flags:02x}"


def read_sampling(text: str) -> Sampling | None:
    """Reads a setting: "always", "client", or a share from "1%" to "99%". Returns None for anything else."""
    if text == "always":
        return ALWAYS
    if text == "client":
        return BY_CLIENT
    share = _SHARE.fullmatch(text)
    return Sampling(int(share[1])) if share else None


def read_traceparent(header: str) -> Parent | None:
    """Reads a client's header. Returns None if it names no span, and the request then begins a trace of its own.

    Of a later version, only the part is read that this version has too. Several headers arrive as one, joined by
    commas, and are refused.
    """
    found = _HEADER.fullmatch(header)
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"] is not None):
        return None
    _, trace_id, span_id, flags, _ = found.groups()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    known = _SAMPLED | _RANDOM if found["version"] == "00" else _SAMPLED
    return Parent(trace_id, span_id, int(flags, 16) & known)


def begin_trace(traceparent: str, request_id: str, sampling: Sampling) -> TraceContext | None:
    """Finds the trace of a request.

    Args:
        traceparent: the client's header; empty if there was none.
        request_id: Envoy's. A trace that begins here has it as its id, without the dashes.
        sampling: which traces are recorded.

    Returns:
        None if the client names no trace, and the request id is not one of Envoy's.
    """
    parent = read_traceparent(traceparent) if traceparent else None
    if parent is None:
        trace_id = request_id.replace("-", "") if _REQUEST_ID.fullmatch(request_id) else _NO_TRACE
        if trace_id == _NO_TRACE:
            return None
        return TraceContext(trace_id, "", _SAMPLED if sampling.records(trace_id, None) else 0)
    recorded = _SAMPLED if sampling.records(parent.trace_id, parent) else 0
    return TraceContext(parent.trace_id, parent.span_id, parent.flags & ~_SAMPLED | recorded)


def read_context(text: str) -> TraceContext | None:
    """Reads what `TraceContext.__str__` wrote. Returns None for anything else."""
    found = _ADMITTED.fullmatch(text)
    if found is None:
        return None
    trace_id, parent_id, flags = found.groups()
    return TraceContext(trace_id, "" if parent_id == _NO_SPAN else parent_id, int(flags))


def span_id(number: int, request_id: str) -> str:
    """Returns the id of a span of a request: four digits for its number, then the last twelve of the request id.

    Ids of spans must differ within a trace only, and a trace holds few requests.
    """
    return f"{number:04x}{request_id[-12:]}"
