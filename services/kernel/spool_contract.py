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


class UsageKey(StrEnum):
    """What `envoy/lua/meter.lua` reads in an answer. Numbers are JSON numbers; what was not said is absent.

    Published as soon as it is known, so that the line of an answer that ended early has what was known by then.
    """

    METER = "meter"
    """"whole": the provider's last word. "open": the answer ended before that. "none": it said nothing. "encoded": it
    was compressed. "failed": the meter broke. Absent when it ended before a figure came."""
    INPUT_TOKENS = "input_tokens"
    """All input: fresh, read from a cache, written to one, and prompts of tools."""
    OUTPUT_TOKENS = "output_tokens"
    """All output, reasoning included, once."""
    TOTAL_TOKENS = "total_tokens"
    """As the provider says it."""
    # Parts of the input. What is cached may be of a modality as well, and providers do not say which.
    CACHED_TOKENS = "cached_tokens"
    CACHED_AUDIO_TOKENS = "cached_audio_tokens"
    CACHED_IMAGE_TOKENS = "cached_image_tokens"
    CACHED_VIDEO_TOKENS = "cached_video_tokens"
    CACHE_WRITE_TOKENS = "cache_write_tokens"
    CACHE_WRITE_1H_TOKENS = "cache_write_1h_tokens"
    """Of those: for an hour."""
    TOOL_INPUT_TOKENS = "tool_input_tokens"
    TOOL_INPUT_AUDIO_TOKENS = "tool_input_audio_tokens"
    TOOL_INPUT_IMAGE_TOKENS = "tool_input_image_tokens"
    TOOL_INPUT_VIDEO_TOKENS = "tool_input_video_tokens"
    TOOL_INPUT_DOCUMENT_TOKENS = "tool_input_document_tokens"
    TOOL_INPUT_OTHER_TOKENS = "tool_input_other_tokens"
    INPUT_AUDIO_TOKENS = "input_audio_tokens"
    INPUT_IMAGE_TOKENS = "input_image_tokens"
    INPUT_VIDEO_TOKENS = "input_video_tokens"
    INPUT_DOCUMENT_TOKENS = "input_document_tokens"
    INPUT_OTHER_TOKENS = "input_other_tokens"
    """Of a modality that the meter does not know."""
    # Parts of the output.
    REASONING_TOKENS = "reasoning_tokens"
    OUTPUT_AUDIO_TOKENS = "output_audio_tokens"
    OUTPUT_IMAGE_TOKENS = "output_image_tokens"
    OUTPUT_VIDEO_TOKENS = "output_video_tokens"
    OUTPUT_DOCUMENT_TOKENS = "output_document_tokens"
    OUTPUT_OTHER_TOKENS = "output_other_tokens"
    # Counts by themselves.
    WEB_SEARCHES = "web_searches"
    WEB_FETCHES = "web_fetches"
    # Texts.
    MODEL = "model"
    """As the answer names it."""
    SERVICE_TIER = "service_tier"
    FINISH = "finish"
    """Why the answer ended, in the dialect's word."""
    ERROR = "error"
    """The kind of an error that the answer tells."""
    SEEN = "seen"
    """Object of `SeenKey`: evidence of a stream. Told when text or events grew: what passed after the last time is less
    than a quarter of what was told, and `UNTOLD_TEXT_BYTES` more. It can be added in proportion to the bytes."""


UNTOLD_TEXT_BYTES = 64
"""See `UsageKey.SEEN`."""


class SeenKey(StrEnum):
    """What of a stream was passed on when its evidence was told last."""

    EVENTS = "events"
    CONTENT = "content"
    """Events that hold something of what the model says."""
    TEXT = "text"
    """Bytes of that, as they are written in JSON."""
    BYTES = "bytes"
    """Bytes of the body that the client was sent."""


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
    PROTOCOL = "protocol"
    """Of the client: "HTTP/1.1"."""
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
    USAGE = "usage"
    """Object of `UsageKey`: what the meter read in the answer, absent when there was nothing to read."""
    # What the release before wrote instead; lines of it may still lie in a spool after an upgrade.
    USAGE_STATUS = "usage_status"
    """Only "1" (complete) or "COMPLETE" is taken as the provider's word."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHED_TOKENS = "cached_tokens"
    CACHE_CREATION_TOKENS = "cache_creation_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    RESPONSE_MODEL = "response_model"
    # The log of refusals only.
    PATH = "path"
    """Without its query, at most 256 bytes. Withheld when a part of it is as long as a secret."""
    USER_AGENT = "user_agent"
