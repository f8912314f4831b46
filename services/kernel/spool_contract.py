"""The spool's lines, which Envoy writes and the ledger books: their fields, and their files.

Every name is spelled here once. A test fails on any other spelling.
"""

from __future__ import annotations

from enum import StrEnum

SPOOL_SUFFIX = ".jsonl"
"""`<data dir>/spool/<epoch>.jsonl`. An epoch is `<node>-<start of that Envoy in ms, 13 digits>`. Of two files of one
node, the one with the larger start is later, and the earlier one's Envoy is gone."""
REFUSED_LOG = "refused.jsonl"
"""`<data dir>/logs/refused.jsonl`: requests without a reservation. Never booked; the ledger caps the file's size."""


class UsageKey(StrEnum):
    """What `envoy/lua/meter.lua` reads in an answer, in its line. Whatever the provider did not send is absent.

    Figures are published as soon as they are known, so the line of an answer that ended early has the latest ones.
    """

    METER = "meter"
    """"whole": the provider's final figures. "open": the answer ended before those. "none": it carried none. "encoded":
    it was compressed. "failed": the meter broke. Absent when the answer ended before any figure."""
    INPUT_TOKENS = "input_tokens"
    """All input: fresh, read from a cache, written to one, and tool prompts."""
    OUTPUT_TOKENS = "output_tokens"
    """All output. Reasoning is included, once."""
    TOTAL_TOKENS = "total_tokens"
    """As reported by the provider."""
    # Parts of the input. Cached tokens have a modality too, and providers do not say which.
    CACHED_TOKENS = "cached_tokens"
    CACHED_AUDIO_TOKENS = "cached_audio_tokens"
    CACHED_IMAGE_TOKENS = "cached_image_tokens"
    CACHED_VIDEO_TOKENS = "cached_video_tokens"
    CACHE_WRITE_TOKENS = "cache_write_tokens"
    CACHE_WRITE_1H_TOKENS = "cache_write_1h_tokens"
    """The cache writes that last an hour."""
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
    # Standalone counts.
    WEB_SEARCHES = "web_searches"
    WEB_FETCHES = "web_fetches"
    # Texts.
    MODEL = "model"
    """As the answer names it."""
    SERVICE_TIER = "service_tier"
    FINISH = "finish"
    """Why the answer ended, in the dialect's word."""
    ERROR = "error"
    """The kind of an error that the answer reports, or "unnamed". "ended_early": it lacks its end and reports none."""
    SEEN = "seen"
    """Object of `SeenKey`: evidence from a stream. Reported again once its text or events have grown enough. Unreported
    text is less than a quarter of the reported text plus `UNREPORTED_TEXT_BYTES`, and can be added in proportion to the
    bytes."""


UNREPORTED_TEXT_BYTES = 64
"""See `UsageKey.SEEN`."""


class SeenKey(StrEnum):
    """How much of a stream had been passed on at the last report of its evidence."""

    EVENTS = "events"
    CONTENT = "content"
    """Events that carry some of the model's output."""
    TEXT = "text"
    """Bytes of that output, as written in JSON."""
    BYTES = "bytes"
    """Bytes of the body that the client had been sent."""


class RequestedKey(StrEnum):
    """What `request_info.lua` says about a request, in its line. No text where it did not read the body."""

    DIALECT = "dialect"
    OPERATION = "operation"
    """A `services.kernel.endpoint.Operation`. Absent for a chat."""
    MODEL = "model_requested"
    """As the client asked."""
    STREAM = "stream"
    BODY_BYTES = "body_bytes"
    FEATURES = "features"
    """As in `services.kernel.envoy_contract.RequestKey`."""
    PREFIX_1K = "prefix_1k"
    """16 hex digits: a fingerprint of the first 1 024 bytes of the conversation, if it has that many."""
    PREFIX_4K = "prefix_4k"
    PREFIX_16K = "prefix_16k"
    PREFIX_64K = "prefix_64k"
    BODY_PRINT = "body_print"
    """16 hex digits: a fingerprint of the body's beginning and end. Equal bodies have equal fingerprints."""
    CLIENT_REQUEST_ID = "client_request_id"


class AdmittedKey(StrEnum):
    """What quota says about an admitted call, in its line. An empty text is left out."""

    RESERVATION = "reservation"
    KEY_ID = "key_id"
    KEY = "key"
    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    TAGS = "tags"
    """`name=value` pairs joined by commas, validated."""
    RUN = "run"
    UNKNOWN_MEMBERS = "unknown_members"
    """As in `services.kernel.envoy_contract.RequestKey`, plus `header=value` for unknown header values. At most 1 024
    bytes: a final `+3` stands for three more, and `(withheld)` for a value that may hold a key."""
    PRICE_OPTIONS = "price_options"
    """In the same form."""
    TRACEPARENT = "traceparent"
    """As `services.kernel.envoy_contract.AdmissionKey.TRACEPARENT`."""
    DECIDED = "decided"
    """Object of `DecidedKey`, a text in earlier lines. Absent when the trace is not recorded."""
    MODEL = "model"
    """As the client asked."""
    DECISION = "decision"
    """"allow" or "downgrade"."""
    DOWNGRADED = "downgraded"
    """Why another target leads than the model's first, as in `services.kernel.envoy_contract.LeadReason`."""
    LEFT_OUT = "left_out"
    """Targets that cannot carry the call, joined by commas, each with what it lacks: `provider/model=images+tools`."""
    POLICY = "policy"
    """Name of the tightest policy. Absent when none applies."""
    CHAIN = "chain"
    """"provider/model" of each attempt in order, joined by commas."""
    STOPS_ON_DISCONNECT = "stops_on_disconnect"
    """Targets of the chain whose provider is declared to stop when its client hangs up, joined by commas."""
    EXPECTED_INPUT_TOKENS = "expected_input_tokens"
    EXPECTED_OUTPUT_TOKENS = "expected_output_tokens"
    """What the ledger books when nobody reports the input, and when nobody saw an answer."""
    HELD_INPUT_TOKENS = "held_input_tokens"
    """The most input tokens that one attempt can take. Absent where tokens do not bound its cost."""
    HELD_OUTPUT_TOKENS = "held_output_tokens"
    """The same for output. The ledger's estimates stay within both."""
    ANSWER_TOKENS = "answer_tokens"
    """Tokens that an answer of this key and model has regardless of its text; may be negative."""
    ANSWER_MICROTOKENS_PER_BYTE = "answer_microtokens_per_byte"
    """Millionths of a token for each byte of text. With the previous key: the tokens of an answer seen in part."""


class DecidedKey(StrEnum):
    """What quota says about a decision, for its span. It leaves out empty texts, and 0 stands for none.

    The other fields of a call's line say the rest: caller, model, chain, decision, policy.
    """

    BEGAN_US = "began_us"
    """Microseconds since 1970 UTC."""
    TOOK_US = "took_us"
    REASON = "reason"
    """"within_limits", "budget_used", "allowance", another `LeadReason`, or why it was refused: a `Denial`."""
    POLICIES = "policies"
    """Policies that hold room for the call, joined by commas. A final `+3` stands for three more."""
    HELD_NANO_USD = "held_nano_usd"
    """The most that the call can cost, if a limit on spend holds room for it."""
    OUTPUT_CAP_TOKENS = "output_cap_tokens"
    """The output tokens of each choice to which the limits cut the call, if they did."""
    SHADOWED = "shadowed"
    """Policies in shadow mode that would have refused, in the same form."""
    # Of refusals only.
    POLICY = "policy"
    """The policy that refused."""
    MODEL = "model"
    """As the client asked. Withheld if it may hold a key."""


class SpoolKey(StrEnum):
    """Fields of a spool line. Envoy writes an unknown value as null or "-", or leaves it out.

    Values from metadata or from the meter can also be strings, numbers and booleans.
    """

    KIND = "kind"
    """"call" or "attempt". Attempts have their own lines, usually before their call's."""
    VERSION = "v"
    """1."""
    TIME = "time"
    """RFC 3339 with microseconds, UTC: when the request's head (or the attempt) began."""
    REQUEST_ID = "id"
    """Envoy's x-request-id, in calls and attempts."""
    STATUS = "status"
    """HTTP status; 0 when none was sent or received."""
    FLAGS = "flags"
    """Envoy's response flags, e.g. "UF,URX"."""
    DETAILS = "details"
    """Envoy's response code details, e.g. "via_upstream", "ext_authz_error"."""
    DURATION_MS = "duration_ms"
    DURATION_US = "duration_us"
    """Until the last byte was sent to the client, or came from the attempt's provider. Absent where it never was."""
    FIRST_BYTE_MS = "first_byte_ms"
    """Until the first byte of the upstream's answer."""
    CLUSTER = "cluster"
    """Upstream cluster."""
    # Attempts only.
    ATTEMPT = "attempt"
    """1 for the first."""
    FAILURE = "failure"
    """Why the transport of an attempt failed."""
    TRACEPARENT = "traceparent"
    """The header that the provider was sent, cut to 55 bytes. Of a recorded trace, its span id is the attempt's."""
    OPERATION = "operation"
    """As `RequestedKey.OPERATION`."""
    # Calls only.
    REQUESTED = "requested"
    """Text for a JSON object of `RequestedKey`; see `services.chassis.line_text`."""
    ADMITTED = "admitted"
    """Text for a JSON object of `AdmittedKey`. Absent if quota did not answer: the line then has a `traceparent` of its
    own, the client's header."""
    RESERVATION = "reservation"
    ATTEMPTS = "attempts"
    """How many attempts were made."""
    BYTES_SENT = "bytes_sent"
    """Bytes of the body that the client was sent."""
    PROTOCOL = "protocol"
    """The client's protocol: "HTTP/1.1"."""
    CLIENT_REQUEST_ID = "client_request_id"
    """A member of `requested`. The line's own where quota did not admit the call, and in the log of refusals."""
    SDK_RETRY = "sdk_retry"
    """x-stainless-retry-count."""
    DROPPED = "dropped"
    """`AttemptKey.DROPPED`."""
    USAGE = "usage"
    """Text for a JSON object of `UsageKey`; an object in earlier lines. Absent when there was nothing to read."""
    # Only in the log of refusals. It also has `traceparent` and `decided`, as texts of the line.
    METHOD = "method"
    PATH = "path"
    """Without its query, at most 256 bytes. Withheld if a segment of it is as long as a secret."""
    USER_AGENT = "user_agent"
