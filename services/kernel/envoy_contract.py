"""Every name that Envoy's configuration, its Lua and our Python must spell alike. A test finds no other spelling.

Three parties write into a request's dynamic metadata: `request_info.lua` what the client asks for, quota what it may
have, and the access log turns both into one line of the spool, which the ledger books.
"""

from __future__ import annotations

from enum import StrEnum

# --- namespaces of dynamic metadata -------------------------------------------------------------------------------
REQUEST_NAMESPACE = "spendgate.request"
"""Written by `envoy/lua/request_info.lua`, read by quota. Keys: `RequestKey`."""
ADMISSION_NAMESPACE = "envoy.filters.http.ext_authz"
"""Written by quota's answer, read by the priority_group cluster specifier, the Lua scripts and the access log.
Keys: `AdmissionKey`."""

GATE_NAMESPACE = "spendgate.gate"
"""Written by `small_bodies.lua` and `large_bodies.lua`, read by the filter `gate`. Keys: `GateKey`."""
SCAN_NAMESPACE = "spendgate.scan"
"""Written by `request_info.lua` for the other scripts and the log; not sent to quota. Keys: `ScanKey`."""
USAGE_NAMESPACE = "spendgate.usage"
"""Written by `envoy/lua/meter.lua` for the log and the spans. Keys: `services.kernel.spool_contract.UsageKey`."""
ATTEMPT_NAMESPACE = "spendgate.attempt"
"""Written by `envoy/lua/target.lua` for answer headers, spans and the log. Keys: `AttemptKey`."""

# --- paths --------------------------------------------------------------------------------------------------------
BUDGET_PATH = "/v1/budget"
"""Where the holder of a key reads what it has left. Quota answers it at the Check, as it does the list of models."""

# --- context extensions of a Check --------------------------------------------------------------------------------
# They tell which filter asks, and so what is asked. Without any: may this call spend?
PLANE_EXTENSION, ADMIN_PLANE = "plane", "admin"
"""Asked for the admin listener, where the credential must be an admin token."""
STAGE_EXTENSION, KEY_STAGE = "stage", "key"
"""Asked before the body comes: whether the key is good, and no more."""

# --- headers ------------------------------------------------------------------------------------------------------
EPOCH_HEADER = "x-spendgate-epoch"
"""gRPC metadata of each Check: the run of Envoy that asks, also its node id and the stem of its spool file."""
ACTOR_HEADER = "x-spendgate-actor"
"""From quota to the admin services: role, team and name of who asks, joined by colons. No client can set it."""
RUN_HEADER = "x-spendgate-run"
"""From the client: names the run of an agent. For reporting and for narrowing limits, never for widening them."""
TAGS_HEADER = "x-spendgate-tags"
"""From the client: at most 8 `name=value` pairs of at most 64 bytes, joined by commas. For reporting only."""
MODEL_REQUESTED_HEADER = "x-spendgate-model-requested"
MODEL_SERVED_HEADER = "x-spendgate-model-served"
ATTEMPTS_HEADER = "x-spendgate-attempts"
POLICY_HEADER = "x-spendgate-policy"
BUDGET_REMAINING_HEADER = "x-spendgate-budget-remaining"
BUDGET_RESETS_HEADER = "x-spendgate-budget-resets-at"
DOWNGRADED_HEADER = "x-spendgate-downgraded"
OUTPUT_CAPPED_HEADER = "x-spendgate-output-capped"
TRACE_ID_HEADER = "x-trace-id"
"""On every answer of a provider or of quota, when the call is traced: the id of its trace."""
CLIENT_REQUEST_ID_HEADER = "x-spendgate-client-request-id"
"""Inside Envoy only: carries the client's own x-request-id from the early header mutation to `request_info.lua`."""
BETA_HEADER = "anthropic-beta"
"""Anthropic's own: what a request switches on by it can make its call larger, so quota reads it."""
CREDENTIAL_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization")
"""Where clients put keys. Removed natively before any script or provider sees the request."""


class RequestKey(StrEnum):
    """What `request_info.lua` says about a request. Absent means: the client did not say."""

    DIALECT = "dialect"
    """string: "openai", "anthropic" or "gemini"."""
    MODEL = "model"
    """string, at most 256 bytes."""
    STREAM = "stream"
    """bool."""
    INCLUDE_USAGE = "include_usage"
    """bool: the client itself asked for the usage chunk of an OpenAI stream."""
    MAX_OUTPUT_TOKENS = "max_output_tokens"
    """number: the client's bound, whatever its spelling; the larger one if it gave two."""
    THINKING_TOKENS = "thinking_tokens"
    """number: the budget for thinking within that bound, when the request sets one."""
    CHOICES = "choices"
    """number: `n` or `candidateCount`, when above 1."""
    BODY_BYTES = "body_bytes"
    """number."""
    IMAGES = "images"
    """number of images."""
    DATA_URI_BYTES = "data_uri_bytes"
    """number: bytes of the body that are data of those images in base64, not text."""
    AUDIO_BYTES = "audio_bytes"
    """number: bytes of the body that are sound in base64."""
    GROWTH_BYTES = "growth_bytes"
    """number: bytes that numbers of the body may take on top of theirs when a server writes them again: 1e20."""
    UNKNOWN_MEMBERS = "unknown_members"
    """string: paths of members, and of words that say what a part is, that no table here knows; at most 16 of them,
    joined by commas, sorted. Whatever is no letter, digit or one of `_.$:/=-` is a question mark."""
    PRICE_OPTIONS = "price_options"
    """string: what the request asks for that changes its price, in the same form: names of members, `name=word` where
    the word matters, `tools.type=uses` for a tool of the provider with a bound on its uses."""
    FEATURES = "features"
    """string: names joined by commas, sorted, of `tools`, `images`, `audio`, `files`, `response_format`, `thinking`,
    `cache_control`, `cache_1h`, `stored_input`, `server_tools`."""
    PREFIX_1K = "prefix_1k"
    """string: 16 hex digits, a fingerprint of the first 1 024 bytes of the conversation, when it has as many."""
    PREFIX_4K = "prefix_4k"
    PREFIX_16K = "prefix_16k"
    PREFIX_64K = "prefix_64k"
    BODY_PRINT = "body_print"
    """string: 16 hex digits, a fingerprint of the body's beginning and end. Equal bodies have equal ones."""


class GateKey(StrEnum):
    """What is said about a request before its body comes."""

    UNASKED = "unasked"
    """bool: its key need not be looked at before its body comes. Absent: it must be."""
    NUMBER = "number"
    """number: of the room that a large body takes, within one worker. Only `large_bodies.lua` reads it."""
    SHOWN = "shown"
    """number: of the credentials that came with a large body, within one worker. Only `small_bodies.lua` reads it."""


class ScanKey(StrEnum):
    """What `request_info.lua` leaves for the other scripts and the log."""

    CLIENT_REQUEST_ID = "client_request_id"
    """string: see `CLIENT_REQUEST_ID_HEADER`; cut to 128 bytes."""
    SPANS = "spans"
    """struct: where the values stand that `target.lua` replaces. Only Lua writes and reads it."""


class AttemptKey(StrEnum):
    """What `target.lua` says about the attempt that it prepared last."""

    TARGET = "target"
    """string: "provider/model"."""
    NUMBER = "number"
    """number: 1 for the first."""
    DOWNGRADED = "downgraded"
    """string: "budget" when quota's decision was "downgrade", else absent."""
    STRIP_USAGE = "strip_usage"
    """bool: as quota said."""
    DROPPED = "dropped"
    """string: headers that did not pass, in all attempts: "provider>name" of a request's, "provider<name" of an
    answer's, joined by commas. At most 1 024 bytes; absent when there were none worth telling."""
    KEPT = "kept"
    """struct: headers of the request that another provider of the configuration allows, by name. Only Lua reads it."""


class AdmissionKey(StrEnum):
    """What quota's ALLOW carries."""

    RESERVATION = "reservation"
    """string: id of the reservation, also of the ledger entry."""
    KEY_ID = "key_id"
    KEY = "key"
    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    TAGS = "tags"
    """string: `name=value` pairs joined by commas, checked."""
    RUN = "run"
    UNKNOWN_MEMBERS = "unknown_members"
    """string: `RequestKey.UNKNOWN_MEMBERS`, and `header=value` for values of headers that nobody here knows. Absent
    when there are none; at most 1 024 bytes: a last name `+3` stands for three more, `(withheld)` for what may hold a
    key."""
    PRICE_OPTIONS = "price_options"
    """string: `RequestKey.PRICE_OPTIONS`, in the same form."""
    MODEL = "model"
    """string: as the client asked."""
    DECISION = "decision"
    """string: "allow" or "downgrade"."""
    POLICY = "policy"
    """string: name of the tightest policy, absent when none applies."""
    CHAIN = "chain"
    """string: "provider/model" of each attempt in order, joined by commas."""
    STOPS_ON_DISCONNECT = "stops_on_disconnect"
    """string: those of the chain whose provider is declared to stop when its client hangs up, joined by commas. Absent
    when there are none."""
    EXPECTED_INPUT_TOKENS = "expected_input_tokens"
    """number: what the ledger books as input when nobody reports it."""
    EXPECTED_OUTPUT_TOKENS = "expected_output_tokens"
    """number: what the ledger books as output when nobody saw an answer."""
    HELD_INPUT_TOKENS = "held_input_tokens"
    """number: the most input tokens that one attempt can take. Absent where tokens do not bound what it costs."""
    HELD_OUTPUT_TOKENS = "held_output_tokens"
    """number: the same of output; the ledger's estimates stay within both."""
    ANSWER_TOKENS = "answer_tokens"
    """number: tokens that an answer of the key and model has whatever the size of its text; may be negative."""
    ANSWER_MICROTOKENS_PER_BYTE = "answer_microtokens_per_byte"
    """number: and millionths of a token for each byte of its text. From both follows what an answer took that was
    seen in part."""
    STRIP_USAGE = "strip_usage"
    """bool: the client did not ask for the usage chunk that we make the provider send."""
    PRIORITY_GROUPS = "priority_groups"
    """list as envoy.extensions.router.cluster_specifiers.priority_group.v3 takes it: one group of one cluster for
    each attempt, in order."""
    TARGETS = "targets"
    """list of `TargetKey` structs, one for each attempt, in order."""
    HOLDER = "holder"
    """string: id of the key whose body may come. In the answer to a Check of the stage "key", which carries no more;
    and from `small_bodies.lua`, which remembers for a moment whose key was good."""


class TargetKey(StrEnum):
    """What `target.lua` needs for one attempt."""

    NAME = "name"
    """string: "provider/model"."""
    HOST = "host"
    PATH = "path"
    """string: complete, query included."""
    MODEL = "model"
    """string: as the provider names it, written into the body (absent for Gemini, where it is in the path)."""
    INCLUDE_USAGE = "include_usage"
    """bool: force `stream_options.include_usage`."""
    OUTPUT_CAP_FIELD = "output_cap_field"
    """string: field of the body that gets `output_cap`; "outer.inner" where it stands one level deeper."""
    OUTPUT_CAP = "output_cap"
    """number."""


class Socket(StrEnum):
    """Unix sockets in `<data dir>/run`, where every process works: an address is "unix:" and such a name."""

    QUOTA = "quota.sock"
    """Checks only."""
    QUOTA_ADMIN = "quota-admin.sock"
    ROUTER = "router.sock"
    LEDGER = "ledger.sock"
    ENVOY_ADMIN = "envoy-admin.sock"
    """Envoy's own admin interface, HTTP."""

    def of(self, number: int) -> str:
        """The same of one of several quotas, counted from 1: "quota.sock", "quota-2.sock" ..."""
        return self.value if number == 1 else self.value.replace(".", f"-{number}.")


MAX_QUOTAS = 16
STREAM_BUFFER_BYTES = 1 << 16
"""What Envoy holds for a client that reads slowly, on either side, before it stops reading from the provider."""
MAX_STREAM_S = 900
"""How long Envoy lets a request live, unless SPENDGATE_MAX_STREAM_S says otherwise to all three services: the ledger
books what must be over by then, so nobody may believe in less than Envoy does."""
