"""Headers that pass between clients and providers, in both directions. Every header that is not listed here is dropped.

A list of harmful headers would never be complete: one header takes the usage out of an answer, the next selects another
account, and every vendor invents more. So the lists name good headers, each with the reason why it may pass.
`docs/headers.md` shows them, and a test keeps both equal. `services.kernel.header_names` says which ones may be added.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import BETA_HEADER, CREDENTIAL_HEADERS


@dataclass(frozen=True, slots=True)
class Passing:
    """A header that passes."""

    name: str
    why: str
    dialects: tuple[Dialect, ...] = tuple(Dialect)
    """The dialects in which it passes."""
    value: str = ""
    """The gateway's replacement value. Empty: the header passes unchanged."""


ANTHROPIC_VERSION_HEADER = "anthropic-version"
ANTHROPIC_VERSION = "2023-06-01"
"""The version of Messages that a translated request is written in."""

TO_PROVIDER = (
    Passing("content-type", "the scan read the body as this and nothing else", value="application/json"),
    Passing("content-length", "of the body as it is sent, which the gateway may have changed"),
    # If a client asks Google for another encoding here, Google sends one that no meter reads.
    Passing("accept", "what the meter reads; streams arrive anyway", value="application/json"),
    # Some vendors' firewalls refuse requests without one. The client's own would reveal who is behind the gateway.
    Passing("user-agent", "vendors refuse requests without one", value="spendgate"),
    Passing(ANTHROPIC_VERSION_HEADER, "Anthropic refuses requests without it", (Dialect.ANTHROPIC,)),
    Passing(BETA_HEADER, "switches features on; quota reads it as well", (Dialect.ANTHROPIC,)),
    Passing("x-request-id", "the gateway's own id of the request, for the logs of both"),
    Passing("traceparent", "the span of the attempt, which a model server of yours may continue; else the client's"),
    Passing("tracestate", "belongs to `traceparent`"),
    Passing("x-stainless-retry-count", "how often an SDK sent this before, which the gateway's log reads here"),
    Passing("x-envoy-attempt-count", "the number of the attempt, which the gateway's log reads here"),
)
"""The gateway also sends the host and the provider's credential, which it adds after everything else is removed."""

TO_CLIENT = (
    Passing("content-type", "says how to read the answer"),
    Passing("content-length", "says where the answer ends"),
    Passing("transfer-encoding", "says where the answer ends"),
    Passing("content-encoding", "a body that was compressed unasked cannot be read without it"),
    Passing("cache-control", "keeps caches in front of the gateway from storing the answer"),
    Passing("retry-after", "SDKs wait this long"),
    Passing("retry-after-ms", "SDKs wait this long"),
    Passing("x-should-retry", "SDKs obey it"),
    Passing("openai-processing-ms", "how long the provider worked", (Dialect.OPENAI,)),
    Passing("x-gemini-service-tier", "the service tier that served the call", (Dialect.GEMINI,)),
)
"""`date` passes too. The gateway adds its own headers: its request id, the trace id, limits and budgets."""

# `spendgate doctor` does not report these, because nobody misses them.
EXPECTED_FROM_CLIENT = (
    *CREDENTIAL_HEADERS,
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    BETA_HEADER,
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "baggage",
    "cache-control",
    "connection",
    "content-encoding",
    "content-type",
    "dnt",
    "expect",
    "forwarded",
    "origin",
    "pragma",
    "priority",
    "referer",
    "sentry-trace",
    "te",
    "true-client-ip",
    "user-agent",
    "via",
    "x-cloud-trace-context",
    "x-goog-api-client",
    "x-real-ip",
    "x-server-timeout",
)
EXPECTED_FROM_CLIENT_PREFIXES = (
    "x-stainless-",
    "x-forwarded-",
    "x-envoy-",
    "x-spendgate-",
    "x-b3-",
    "x-amzn-",
    "x-datadog-",
    "sec-",
    "cf-",
)
EXPECTED_FROM_PROVIDER = (
    "age",
    "alt-svc",
    "anthropic-organization-id",
    "accept-ranges",
    "connection",
    "content-disposition",
    "content-language",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "nel",
    "openai-organization",
    "openai-project",
    "openai-version",
    "permissions-policy",
    "pragma",
    "referrer-policy",
    "report-to",
    "reporting-endpoints",
    "request-id",
    "server",
    "server-timing",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "via",
    "www-authenticate",
    "x-accel-buffering",
    "x-cache",
    "x-content-type-options",
    "x-frame-options",
    "x-powered-by",
    "x-request-id",
    "x-xss-protection",
)
EXPECTED_FROM_PROVIDER_PREFIXES = (
    "x-ratelimit-",
    "anthropic-ratelimit-",
    "access-control-",
    "cf-",
    "x-envoy-",
    "x-spendgate-",
    "x-amz-cf-",
)
