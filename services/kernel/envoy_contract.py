"""Every name that Envoy's configuration, its Lua and our Python share. A test fails on any other spelling.

Three parties write a request's dynamic metadata. `request_info.lua` says what the client asks for. Quota says what the
request may have. The access log turns both into one line of the spool, which the ledger books.
"""

from __future__ import annotations

from enum import StrEnum

# --- namespaces of dynamic metadata -------------------------------------------------------------------------------
REQUEST_NAMESPACE = "spendgate.request"
"""Written by `envoy/lua/request_info.lua`, read by quota. Keys: `RequestKey`."""
ADMISSION_NAMESPACE = "envoy.filters.http.ext_authz"
"""Written by quota's answer; read by the priority_group cluster specifier, the Lua scripts and the access log. Keys:
`AdmissionKey`."""

GATE_NAMESPACE = "spendgate.gate"
"""Written by `small_bodies.lua` and `large_bodies.lua`, read by the filter `gate`. Keys: `GateKey`."""
SCAN_NAMESPACE = "spendgate.scan"
"""Written by `request_info.lua` for the other scripts and the log; not sent to quota. Keys: `ScanKey`."""
USAGE_NAMESPACE = "spendgate.usage"
"""Written by `envoy/lua/meter.lua` for the log. Its keys are `USAGE_LINE` and `USAGE_BROKEN`."""
USAGE_LINE = "line"
"""string: a text for an object of `services.kernel.spool_contract.UsageKey`; see `services.chassis.line_text`."""
USAGE_BROKEN = "broken"
"""bool: the answer carried an error, or ended within its text or without its end mark. Absent when it did not."""
ATTEMPT_NAMESPACE = "spendgate.attempt"
"""Written by `envoy/lua/target.lua` for answer headers and the log. Keys: `AttemptKey`."""

# --- context extensions of a Check --------------------------------------------------------------------------------
# They name the filter that asks, and so its question. Without one, the question is: may this call spend?
PLANE_EXTENSION, ADMIN_PLANE = "plane", "admin"
"""Sent for the admin listener, where the credential must be an admin token."""
STAGE_EXTENSION, KEY_STAGE = "stage", "key"
"""Sent before the body arrives. It asks only whether the key is valid."""

# --- headers ------------------------------------------------------------------------------------------------------
EPOCH_HEADER = "x-spendgate-epoch"
"""gRPC metadata of each Check: the run of Envoy that asks. Also Envoy's node id and the stem of its spool file."""
ACTOR_HEADER = "x-spendgate-actor"
"""From quota to the admin services: role, team and name of the caller, joined by colons. No client can set it."""
RUN_HEADER = "x-spendgate-run"
"""From the client: names the run of an agent. It serves reports and can narrow limits, but never widen them."""
TAGS_HEADER = "x-spendgate-tags"
"""From the client: at most 8 `name=value` pairs of at most 64 bytes each, joined by commas. For reports only."""
MODEL_REQUESTED_HEADER = "x-spendgate-model-requested"
MODEL_SERVED_HEADER = "x-spendgate-model-served"
ATTEMPTS_HEADER = "x-spendgate-attempts"
POLICY_HEADER = "x-spendgate-policy"
BUDGET_REMAINING_HEADER = "x-spendgate-budget-remaining"
BUDGET_RESETS_HEADER = "x-spendgate-budget-resets-at"
DOWNGRADED_HEADER = "x-spendgate-downgraded"
IGNORED_HEADER = "x-spendgate-ignored"
OUTPUT_CAPPED_HEADER = "x-spendgate-output-capped"
PROVIDER_STATUS_HEADER = "x-spendgate-provider-status"
"""What the provider answered, where the gateway answers 502 instead."""
TRACE_ID_HEADER = "x-trace-id"
"""The id of the request's trace, on every answer, whether or not somebody receives traces."""
CLIENT_REQUEST_ID_HEADER = "x-spendgate-client-request-id"
"""Only inside Envoy: carries the client's own x-request-id from the early header mutation to `request_info.lua`."""
TARGET_PSEUDO_HEADER = ":spendgate-target"
"""Only inside Envoy: the "provider/model" of the attempt, from `target.lua` to the log of attempts, which sees headers
and no metadata. Names that begin with a colon exist in no HTTP/1.1 message, so Envoy sends it to no provider."""
OPERATION_PSEUDO_HEADER = ":spendgate-operation"
"""In the same way, the `services.kernel.endpoint.Operation` of the call. Absent for a chat."""
BETA_HEADER = "anthropic-beta"
"""Anthropic's own. The options that it switches on can make a call larger, so quota reads it."""
KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where clients put their virtual keys."""
CREDENTIAL_HEADERS = (*KEY_HEADERS, "cookie", "proxy-authorization")
"""Headers in which clients put keys. Envoy removes them before any script or provider sees the request."""


class LeadReason(StrEnum):
    """Why another target leads than the model's first: in the plan, a call's answer, line and trace, and a switch."""

    BUDGET = "budget"
    """A part of the budget is used."""
    ERRORS = "errors"
    """Attempts at the target that would lead fail."""
    LATENCY = "latency"
    """Attempts at it take too long."""
    # Of single calls, never of a plan or a switch.
    UNPRICED = "unpriced"
    """The target that would lead has no price for the call, and a limit on spend applies."""
    UNFIT = "unfit"
    """The target that would lead cannot carry what the call needs."""
    # Only of switches. A call that they affect has the reason `ERRORS`, or none.
    RETRY_AFTER = "retry_after"
    """Its provider asked to stay away for a while."""
    DRAINED = "drained"
    """An operator took it out."""


class RequestKey(StrEnum):
    """What `request_info.lua` says about a request. An absent key means that the client did not say."""

    DIALECT = "dialect"
    """string: "openai", "anthropic" or "gemini"."""
    MODEL = "model"
    """string, at most 256 bytes."""
    OPERATION = "operation"
    """string: a `services.kernel.endpoint.Operation`. Absent for a chat."""
    STREAM = "stream"
    INCLUDE_USAGE = "include_usage"
    """bool: the client itself asked for the usage chunk of an OpenAI stream."""
    MAX_OUTPUT_TOKENS = "max_output_tokens"
    """number: the client's bound on output, whatever its spelling; the larger one if it gave two."""
    THINKING_TOKENS = "thinking_tokens"
    """number: the thinking budget within that bound, if the request sets one."""
    CHOICES = "choices"
    """number: `n` or `candidateCount`, when above 1."""
    BODY_BYTES = "body_bytes"
    IMAGES = "images"
    """number of images."""
    DATA_URI_BYTES = "data_uri_bytes"
    """number: bytes of the body that are base64 data of those images, not text."""
    AUDIO_BYTES = "audio_bytes"
    """number: bytes of the body that are base64 sound."""
    GROWTH_BYTES = "growth_bytes"
    """number: bytes that the body's numbers may gain when a server writes them again, e.g. 1e20."""
    UNKNOWN_MEMBERS = "unknown_members"
    """string: paths of members, and of words that name a part's type, that no table here knows; at most 16, joined by
    commas, sorted. A question mark replaces any character other than letters, digits and `_.$:/=-`."""
    PRICE_OPTIONS = "price_options"
    """string: requested options that change the price, in the same form: names of members, `name=word` where the word
    matters, `tools.type=uses` for a provider's tool with a bound on its uses."""
    FEATURES = "features"
    """string: names joined by commas, sorted; see `services.kernel.dialect.Feature`."""


class GateKey(StrEnum):
    """What is known about a request before its body arrives."""

    UNASKED = "unasked"
    """bool: its key need not be checked before its body arrives. Absent: it must be."""
    NUMBER = "number"
    """number: counts the room that large bodies take, within one worker. Only `large_bodies.lua` reads it."""
    SHOWN = "shown"
    """number: counts credentials that came with large bodies, within one worker. Only `small_bodies.lua` reads it."""


class ScanKey(StrEnum):
    """What `request_info.lua` leaves for the other scripts and the log."""

    CLIENT_REQUEST_ID = "client_request_id"
    """string: see `CLIENT_REQUEST_ID_HEADER`; cut to 128 bytes."""
    LOGGED = "logged"
    """string: what the ledger books of the request, a text of `services.kernel.spool_contract.RequestedKey`."""
    SCANNED = "scanned"
    """struct: what `target.lua` needs of the request, with the positions of what it replaces. Only Lua reads it."""


class AttemptKey(StrEnum):
    """What `target.lua` says about the attempt that it prepared last."""

    MADE = "made"
    """struct: the attempt's `target` ("provider/model") and `number` (1 for the first), `downgraded` (as
    `AdmissionKey.DOWNGRADED`), and of the call `dialect`, `choices` (see `RequestKey`), `events` (it asked for events),
    `is_held` (another target can still answer), `strip_usage`, `meter` unless a chat, and for `translated.lua`."""
    DROPPED = "dropped"
    """string, up to 1 024 bytes: dropped headers by commas: "provider>name" of requests, "provider<name" of answers."""
    OPENING = "opening"
    """struct: the `number` of an attempt, and the `status` that the opening of its stream gives it. Only for Lua."""
    KEPT = "kept"
    """struct: request headers that another provider of the configuration allows, by name. Only Lua reads it."""


class AdmissionKey(StrEnum):
    """The metadata of quota's ALLOW: what Envoy needs for the call. What only the ledger needs is one text."""

    RESERVATION = "reservation"
    """string: id of the reservation, and of the ledger entry."""
    ADMITTED = "admitted"
    """string: what the ledger books, a text for an object of `services.kernel.spool_contract.AdmittedKey`.
    One text costs Envoy and quota much less than a value of metadata for each field (ADR 0027)."""
    KEY_ID = "key_id"
    """string: id of the virtual key. `small_bodies.lua` remembers it."""
    TRACEPARENT = "traceparent"
    """string: the call's place in its trace, as a W3C `traceparent`. Its span id is the client's, or zeros if the
    trace begins here. The last bit of its flags says whether the gateway records it. A refusal has it, too."""
    DECIDED = "decided"
    """string: what the span of a refusal says, as JSON; see `services.kernel.spool_contract.DecidedKey`. Absent when
    the trace is not recorded. Of an admitted call it is in `admitted`."""
    DECISION = "decision"
    """string: "deny". Of refusals only."""
    DOWNGRADED = "downgraded"
    """string: why another target leads than the model's first: a `LeadReason`. Absent if none does."""
    STRIP_USAGE = "strip_usage"
    """bool: the client did not ask for the usage chunk that we make the provider send."""
    TRANSLATED = "translated"
    """bool: a target of the chain speaks another dialect than the client. Absent if none does."""
    PRIORITY_GROUPS = "priority_groups"
    """list in the form of envoy.extensions.router.cluster_specifiers.priority_group.v3: one group of one cluster for
    each attempt, in order."""
    TARGETS = "targets"
    """list of `TargetKey` structs, one for each attempt, in order."""
    HOLDER = "holder"
    """string: id of the key whose body may come. It is all that the answer to a Check of stage "key" carries.
    `small_bodies.lua` writes it too: it remembers for a moment which key was valid."""
    # Of refusals only.
    KEY = "key"
    MODEL = "model"
    POLICY = "policy"


class TargetKey(StrEnum):
    """What `target.lua` needs for one attempt."""

    NAME = "name"
    """string: "provider/model"."""
    HOST = "host"
    PATH = "path"
    """string: complete, including the query."""
    MODEL = "model"
    """string: the provider's name for the model, for the body. Absent for chats of Gemini: only the path has it."""
    INCLUDE_USAGE = "include_usage"
    """bool: force `stream_options.include_usage`."""
    OUTPUT_CAP_FIELD = "output_cap_field"
    """string: field of the body that gets `output_cap`. "outer.inner" is one level deeper."""
    OUTPUT_CAP = "output_cap"
    TRANSLATION = "translation"
    """struct of `services.kernel.dialect.TranslationKey`. Absent: the provider speaks the client's dialect."""


class Socket(StrEnum):
    """Unix sockets in `<data dir>/run`, every process's working directory. An address is "unix:" plus a name."""

    QUOTA = "quota.sock"
    """For Checks only."""
    QUOTA_ADMIN = "quota-admin.sock"
    ROUTER = "router.sock"
    LEDGER = "ledger.sock"
    ENVOY_ADMIN = "envoy-admin.sock"
    """Envoy's own admin interface, over HTTP."""
    NOBODY = "nobody.sock"
    """Nobody listens: calls to it end at once. `hold.lua` makes them to hold a head."""

    def of(self, number: int) -> str:
        """Returns the socket of one of several quotas, counted from 1: "quota.sock", "quota-2.sock" ..."""
        return self.value if number == 1 else self.value.replace(".", f"-{number}.")


MAX_QUOTAS = 16
STREAM_BUFFER_BYTES = 1 << 16
"""How much Envoy buffers for a slow client, on either side, before it stops reading from the provider."""
MAX_STREAM_S = 900
"""How long Envoy lets a request live, unless SPENDGATE_MAX_STREAM_S tells all three services otherwise. The ledger
books whatever must be over by then, so no service may assume a shorter life than Envoy's."""
