"""Names of resources: one rule for all, checked at the rim of every service and of the command line.

What to say of a name that nothing has: most of them are typing mistakes, and their right form is known.

And two that we make: what a limit counts calls under, and the id of a reservation and of its entry in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from services.kernel.errors import InvalidInput

# Plain names go into file names, cluster names, log lines and URLs.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


# Users are often mail addresses; models carry slashes, colons and at signs ("us.anthropic.claude-x:0").
_FREE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._@:/+-]{0,254}[A-Za-z0-9]|[A-Za-z0-9]")


_RESERVATION = re.compile(r"rsv_([0-9a-f]{12})[0-9a-f]+")


_MOST_NAMED = 8


_MOST_CHARS = 80


def check_name(field: str, name: str) -> str:
    """Returns `name` if it can name a team, project, environment, policy, provider, key or channel.

    Raises:
        InvalidInput: it cannot.
    """
    if not _PLAIN.fullmatch(name):
        raise InvalidInput(
            field,
            f"{name[:80]!r} is not a name: 1 to 63 letters, digits, dots, dashes, underscores, no dash first",
        )
    return name


def check_model(field: str, model: str) -> str:
    """Returns `model` if it can be the name of a model.

    Raises:
        InvalidInput: it cannot.
    """
    return _check_free(field, model, "a model")


def check_user(field: str, user: str) -> str:
    """Returns `user` if it can name a user.

    Raises:
        InvalidInput: it cannot.
    """
    return _check_free(field, user, "a user")


def split_target(field: str, target: str) -> tuple[str, str]:
    """Splits "provider/model" at the first slash.

    Raises:
        InvalidInput: not of that form.
    """
    provider, slash, model = target.partition("/")
    if not slash:
        raise InvalidInput(field, f"{target[:80]!r} is not a target: write provider/model")
    return check_name(field, provider), check_model(field, model)


def check_unique(field: str, names: Iterable[str]) -> None:
    """Passes names of which no two are the same. `field` is the path of the list whose items they name.

    Raises:
        InvalidInput: two are.
    """
    first: dict[str, int] = {}
    for at, name in enumerate(names):
        if name in first:
            raise InvalidInput(f"{field}[{at}].name", f"{name!r} is there already, at {field}[{first[name]}]")
        first[name] = at


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """A clause such as "there is no environment 'prdo': did you mean 'prod'?".

    `what` is what the name should be of, e.g. "project of team research". `known` are the names that the reader may
    learn of; the closest is suggested, and a few are listed where none is close.
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
    """An id that sorts by time: milliseconds, then at least 8 random bytes, in hex."""
    return f"rsv_{now_ms:012x}{entropy.hex()}"


def first_reservation_id(now_ms: int) -> str:
    """Not larger than any id made at this moment or later."""
    return f"rsv_{now_ms:012x}"


def admitted_ms(reservation: str) -> int | None:
    """When the call of a reservation was admitted. None for what is not an id of ours."""
    form = _RESERVATION.fullmatch(reservation)
    return int(form[1], 16) if form else None


def _check_free(field: str, name: str, what: str) -> str:
    if not _FREE.fullmatch(name):
        raise InvalidInput(
            field, f"{name[:80]!r} does not name {what}: 1 to 256 letters, digits and any of . _ @ : / + -"
        )
    return name


def closest(name: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant; None: none is close.

    Names that differ in case only are the closest of all: "PROD" has no letter in common with "prod".
    """
    folded = {each.casefold(): each for each in reversed(names)}
    for close in get_close_matches(name.casefold(), folded, n=1):
        return folded[close]
    return None
