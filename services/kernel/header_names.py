"""Names of headers that a configuration may let through to a provider, besides those that always pass.

The command line checks its file by these rules, and the router checks what it receives.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.kernel.envoy_contract import CREDENTIAL_HEADERS, TRACE_ID_HEADER
from services.kernel.errors import InvalidInput

ALLOWED_MAX = 32
"""How many names a provider may add."""
NAME_BYTES_MAX = 64

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
# Each reason completes a sentence that begins with the name.
_NEVER = (
    (_CREDENTIALS, (), "carries a credential: the gateway sends its own, and shows nobody's"),
    (_FRAMING, (), "says how a body is sent or read, which the gateway decides"),
    (_OURS, _OUR_PREFIXES, "is what the gateway itself says"),
    (_UNACCOUNTED, (), "lets a client change what is called, or what the answer says about its cost"),
    (_ELSEWHERE, (), "sends clients to another server, past the gateway"),
)
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def read_allowed(field: str, names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names that a provider adds, in lower case and sorted.

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
