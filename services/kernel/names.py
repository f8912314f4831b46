"""Names of resources: one rule for all, checked at the rim of every service and of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from services.kernel.errors import InvalidInput

# Plain names go into file names, cluster names, log lines and URLs.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Users are often mail addresses; models carry slashes, colons and at signs ("us.anthropic.claude-x:0").
_FREE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._@:/+-]{0,254}[A-Za-z0-9]|[A-Za-z0-9]")


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


def _check_free(field: str, name: str, what: str) -> str:
    if not _FREE.fullmatch(name):
        raise InvalidInput(
            field, f"{name[:80]!r} does not name {what}: 1 to 256 letters, digits and any of . _ @ : / + -"
        )
    return name
