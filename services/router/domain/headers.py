"""Which headers pass between clients and providers, in both directions. What this page does not name goes away.

A list of what is harmful would never be complete: one header takes the usage out of an answer, the next picks another
account, and every vendor invents more. So the lists name what is good, and each name says why it may pass.
`docs/headers.md` shows them; a test holds the two together. `services.kernel.header_names` says what may be added.
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
    """Where it passes."""
    value: str = ""
    """What the gateway writes in place of what came. Empty: it passes as it is."""


TO_PROVIDER = (
    Passing("content-type", "the scan read the body as this and nothing else", value="application/json"),
    Passing("content-length", "of the body as it is sent, which the gateway may have changed"),
    # Google answers in another encoding, which no meter reads, to whoever asks for it here.
    Passing("accept", "what the meter reads; streams come all the same", value="application/json"),
    # Some firewalls of vendors refuse requests without one; the client's own tells who is behind the gateway.
    Passing("user-agent", "vendors refuse requests without one", value="spendgate"),
    Passing("anthropic-version", "Anthropic refuses requests without it", (Dialect.ANTHROPIC,)),
    Passing(BETA_HEADER, "switches features on; quota reads it as well", (Dialect.ANTHROPIC,)),
    Passing("x-request-id", "the gateway's own id of the request, for the logs of both"),
    Passing("traceparent", "the span of the attempt, which a model server of yours may continue"),
    Passing("tracestate", "belongs to `traceparent`"),
    Passing("x-stainless-retry-count", "how often an SDK sent this before, which the gateway's log reads here"),
    Passing("x-envoy-attempt-count", "the number of the attempt, which the gateway's log reads here"),
)
"""Besides the host, and the credential of the provider, which is put on when everything else is gone."""

TO_CLIENT = (
    Passing("content-type", "says how to read the answer"),
    Passing("content-length", "says where the answer ends"),
    Passing("transfer-encoding", "says where the answer ends"),
    Passing("content-encoding", "a body that was compressed unasked cannot be read without it"),
    Passing("cache-control", "keeps what stands before the gateway from storing the answer"),
    Passing("retry-after", "SDKs wait as long"),
    Passing("retry-after-ms", "SDKs wait as long"),
    Passing("x-should-retry", "SDKs obey it"),
    Passing("openai-processing-ms", "how long the provider worked", (Dialect.OPENAI,)),
    Passing("x-gemini-service-tier", "the service tier that served the call", (Dialect.GEMINI,)),
)
"""Besides `date`, and what the gateway itself says: its request id, the id of the trace, limits and budgets."""

# Dropped without a word in `spendgate doctor`: nobody misses them.
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
