"""The lines that Envoy writes and the ledger books: their fields, and the files that they stand in.

Every name is spelt once, here. A test finds no other spelling.
"""

from __future__ import annotations

from enum import StrEnum

SPOOL_SUFFIX = ".jsonl"
"""`<data dir>/spool/<epoch>.jsonl`. An epoch is `<node>-<start of that Envoy in ms, 13 digits>`: of two files of one
node the one with the larger start is the later, and the earlier one's Envoy is gone."""
REFUSED_LOG = "refused.jsonl"
"""`<data dir>/logs/refused.jsonl`: requests without a reservation. Booked by nobody; the ledger caps its size."""


class SpoolKey(StrEnum):
    """Fields of a line of the spool. A value that Envoy does not know is null, "-" or absent.

    What comes from metadata, or from the meter, is a string, numbers and booleans too.
    """

    KIND = "kind"
    """"call" or "attempt". The attempts of a call are lines of their own, usually before it."""
    VERSION = "v"
    """1."""
    TIME = "time"
    """RFC 3339 with milliseconds, UTC: when the request's head (or the attempt) began."""
    REQUEST_ID = "id"
    """Envoy's x-request-id, in calls and attempts."""
    STATUS = "status"
    """HTTP status, 0 when none was sent or came."""
    FLAGS = "flags"
    """Envoy's response flags, e.g. "UF,URX"."""
    DETAILS = "details"
    """Envoy's response code details, e.g. "via_upstream", "ext_authz_error"."""
    DURATION_MS = "duration_ms"
    FIRST_BYTE_MS = "first_byte_ms"
    """To the first byte of the upstream's answer."""
    CLUSTER = "cluster"
    """Upstream cluster."""
    # Attempts only.
    ATTEMPT = "attempt"
    """1 for the first."""
    FAILURE = "failure"
    """Transport failure reason of an attempt."""
    # Calls only, besides the string and number keys of `AdmissionKey`, the prefix keys and `dialect`, `stream`,
    # `features`, `body_bytes` and `model_requested` from the request.
    MODEL_REQUESTED = "model_requested"
    """As the client asked."""
    TARGET = "target"
    """"provider/model" of the last attempt, absent when none was made."""
    ATTEMPTS = "attempts"
    """How many attempts were made."""
    BYTES_SENT = "bytes_sent"
    """Bytes of the body that the client was sent."""
    METHOD = "method"
    TRACE_ID = "trace_id"
    SPAN_ID = "span_id"
    """Of Envoy's server span: the parent of the ledger's cost span."""
    CLIENT_REQUEST_ID = "client_request_id"
    """The client's own x-request-id, cut to 128 bytes."""
    SDK_RETRY = "sdk_retry"
    """x-stainless-retry-count."""
    DROPPED = "dropped"
    """`AttemptKey.DROPPED`."""
    USAGE_STATUS = "usage_status"
    """Extraction status of Envoy's token meter; only "1" (complete) or "COMPLETE" is taken as the provider's word."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHED_TOKENS = "cached_tokens"
    CACHE_CREATION_TOKENS = "cache_creation_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    RESPONSE_MODEL = "response_model"
    # The log of refusals only.
    PATH = "path"
    """Without its query, at most 256 bytes."""
    USER_AGENT = "user_agent"
