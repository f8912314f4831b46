"""Which headers pass between clients and providers, in both directions. What this page does not name goes away.

A list of what is harmful would never be complete: one header takes the usage out of an answer, the next picks another
account, and every vendor invents more. So the lists name what is good, and each name says why it may pass.
`docs/headers.md` shows them; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import CREDENTIAL_HEADERS, TRACE_ID_HEADER
from services.kernel.errors import InvalidInput

ALLOWED_MAX = 32
"""How many names a provider may add."""
NAME_BYTES_MAX = 64


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
    Passing("anthropic-beta", "switches features on", (Dialect.ANTHROPIC,)),
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
    "anthropic-beta",
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

_CREDENTIALS = (
    *CREDENTIAL_HEADERS,
    "authentication-info",
    "proxy-authenticate",
    "proxy-authentication-info",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
)
_FRAMING = (
    "accept",
    "accept-charset",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_OURS = ("x-request-id", "request-id", TRACE_ID_HEADER)
_OUR_PREFIXES = ("x-spendgate-", "x-envoy-", "x-ratelimit-", "anthropic-ratelimit-")
_UNACCOUNTED = (
    "x-goog-fieldmask",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
)
_ELSEWHERE = ("location", "refresh", "alt-svc", "content-location")
# Reasons end a sentence that begins with the name.
_NEVER = (
    (_CREDENTIALS, (), "carries a credential: the gateway sends its own, and shows nobody's"),
    (_FRAMING, (), "says how a body is sent or read, which the gateway decides"),
    (_OURS, _OUR_PREFIXES, "is what the gateway itself says"),
    (_UNACCOUNTED, (), "lets a client change what is called, or what the answer says about its cost"),
    (_ELSEWHERE, (), "sends clients to another server, past the gateway"),
)
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def read_allowed(field: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that a provider adds, in lower case and in order.

    Raises:
        InvalidInput: there are too many, or one of them may never pass. The text says which and why.
    """
    listed = tuple(name.lower() for name in names)
    if len(listed) > ALLOWED_MAX:
        raise InvalidInput(field, f"{len(listed)} names are too many: list at most {ALLOWED_MAX}")
    for at, name in enumerate(listed):
        where = f"{field}[{at}]"
        _check_spelling(where, name)
        if name in listed[:at]:
            raise InvalidInput(where, f"{name} is listed twice: remove one")
        for forbidden, prefixes, reason in _NEVER:
            if name in forbidden or name.startswith(prefixes):
                raise InvalidInput(where, f"{name} {reason}: remove it")
    return tuple(sorted(listed))


def may_be_allowed(name: str) -> bool:
    """Whether a provider may add the header of this name."""
    try:
        read_allowed("", (name,))
    except InvalidInput:
        return False
    return True


def _check_spelling(field: str, name: str) -> None:
    if not name or len(name) > NAME_BYTES_MAX:
        raise InvalidInput(field, f"write the name of a header, of at most {NAME_BYTES_MAX} characters")
    if "_" in name:
        raise InvalidInput(field, f"{name!r} holds an underscore: such headers are dropped where they arrive")
    if not set(name) <= _NAME_CHARACTERS:
        raise InvalidInput(field, f"{name!r} is not the name of a header: use letters, digits and dashes")
