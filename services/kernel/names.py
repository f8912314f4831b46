"""Names of resources: one rule for all, checked at the edge of every service and of the command line.

A name that nothing has is mostly a typing mistake, so this module suggests the right one.

It also makes reservation ids, which ledger entries share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from services.kernel.errors import InvalidInput

# Plain names go into file names, cluster names, log lines and URLs.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Users are often mail addresses. Models contain slashes, colons and at signs ("us.anthropic.claude-x:0").
_FREE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._@:/+-]{0,254}[A-Za-z0-9]|[A-Za-z0-9]")
_RESERVATION = re.compile(r"rsv_([0-9a-f]{12})[0-9a-f]+")
_MOST_NAMED = 8
_MOST_CHARS = 80


def check_name(field: str, name: str) -> str:
    """Returns `name` if it is a valid name for a team, project, environment, policy, provider, key or channel.

    Raises:
        InvalidInput: it is not.
    """
    if not _PLAIN.fullmatch(name):
        raise InvalidInput(
            field,
            f"{name[:80]!r} is not a name: 1 to 63 letters, digits, dots, dashes, underscores, no dash first",
        )
    return name


def check_model(field: str, model: str) -> str:
    """Returns `model` if it is a valid model name.

    Raises:
        InvalidInput: it is not.
    """
    return _check_free(field, model, "a model")


def check_user(field: str, user: str) -> str:
    """Returns `user` if it is a valid user name.

    Raises:
        InvalidInput: it is not.
    """
    return _check_free(field, user, "a user")


def split_target(field: str, target: str) -> tuple[str, str]:
    """Splits "provider/model" at the first slash.

    Raises:
        InvalidInput: it has another form.
    """
    provider, slash, model = target.partition("/")
    if not slash:
        raise InvalidInput(field, f"{target[:80]!r} is not a target: write provider/model")
    return check_name(field, provider), check_model(field, model)


def check_unique(field: str, names: Iterable[str]) -> None:
    """Checks that no two names are equal. `field` is the path of the list whose items they name.

    Raises:
        InvalidInput: two are.
    """
    first: dict[str, int] = {}
    for at, name in enumerate(names):
        if name in first:
            raise InvalidInput(f"{field}[{at}].name", f"{name!r} is there already, at {field}[{first[name]}]")
        first[name] = at


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """Returns a clause like "there is no environment 'prdo': did you mean 'prod'?".

    `what` says what was looked up, e.g. "project of team research". `known` are the names that the reader may learn
    of. The closest one is suggested; if none is close, a few are listed.
    """
    names = sorted(known)
    close = closest(name, names)
    if close is not None:
        hint = f"did you mean {close!r}?"
    elif names:
        hint = f"known: {', '.join(names[:_MOST_NAMED])}{', ...' if len(names) > _MOST_NAMED else ''}"
    else:
        hint = "none is declared"
    return f"there is no {what} {name[:_MOST_CHARS]!r}: {hint}"


def reservation_id(now_ms: int, entropy: bytes) -> str:
    """Returns an id that sorts by time: milliseconds, then at least 8 random bytes, in hex."""
    return f"rsv_{now_ms:012x}{entropy.hex()}"


def first_reservation_id(now_ms: int) -> str:
    """Returns a lower bound of all ids made at this moment or later."""
    return f"rsv_{now_ms:012x}"


def admitted_ms(reservation: str) -> int | None:
    """Returns when the call of a reservation was admitted, or None if this is not an id of ours."""
    form = _RESERVATION.fullmatch(reservation)
    return int(form[1], 16) if form else None


def _check_free(field: str, name: str, what: str) -> str:
    if not _FREE.fullmatch(name):
        raise InvalidInput(
            field, f"{name[:80]!r} does not name {what}: 1 to 256 letters, digits and any of . _ @ : / + -"
        )
    return name


def closest(name: str, names: Sequence[str]) -> str | None:
    """Returns the name that was probably meant, or None if none is close.

    Names that differ only in case count as closest, although "PROD" and "prod" share no letter.
    """
    folded = {each.casefold(): each for each in reversed(names)}
    for close in get_close_matches(name.casefold(), folded, n=1):
        return folded[close]
    return None


# Origins of web pages, as browsers send them: RFC 6454's ASCII serialization has scheme, host, and the port unless it
# is the scheme's own. Another spelling would allow nobody.
_LONGEST_ORIGIN = 256
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]"
_ORIGIN = re.compile(rf"(https?)://((?:\*\.(?=[^.]+\.[^.]))?(?:{_HOST}))(?::([1-9]\d{{0,4}}))?")
_LOOSE = re.compile(
    r"(?:(https?):/{0,2})?([^/?#@\s:*\[\]]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?(?:[/?#]\S*)?", re.IGNORECASE
)
_WRITE = "write an origin like https://app.example.com, or all of a domain's hosts as https://*.example.com"
_ANY_SUBDOMAIN = "*."


def check_origin(field: str, origin: str) -> str:
    """Returns an origin, or a pattern `https://*.example.com` for all hosts below a domain.

    Raises:
        InvalidInput: it is neither. The text suggests what was probably meant.
    """
    form = _ORIGIN.fullmatch(origin) if len(origin) <= _LONGEST_ORIGIN else None
    if form is not None and form[3] != _DEFAULT_PORTS[form[1]] and int(form[3] or 0) < 1 << 16:
        return origin
    if origin.strip() in {"*", "null"}:
        raise InvalidInput(field, f"{origin.strip()!r} would let every web page call with a key: {_WRITE}")
    meant = _meant(origin[:_LONGEST_ORIGIN].strip())
    hint = f"did you mean {meant!r}?" if meant else _WRITE
    raise InvalidInput(field, f"{origin[:80]!r} is not an origin as browsers send it: {hint}")


def host_pattern(origin: str) -> str | None:
    """Returns a regular expression for the origins of a pattern; None: the origin stands for itself alone."""
    scheme, _, rest = origin.partition("://")
    if not rest.startswith(_ANY_SUBDOMAIN):
        return None
    return rf"{scheme}://([a-z0-9_-]+\.)+{re.escape(rest.removeprefix(_ANY_SUBDOMAIN))}"


def _meant(text: str) -> str:
    """The origin that was probably meant; empty if nothing is close."""
    loose = _LOOSE.fullmatch(text)
    if loose is None:
        return ""
    host, port = loose[2].lower(), loose[3] or ""
    is_local = host in {"localhost", "127.0.0.1", "[::1]"}
    scheme = (loose[1] or ("http" if is_local else "https")).lower()
    guess = f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[scheme] else "")
    return guess if _ORIGIN.fullmatch(guess) else ""
