"""The scalars of the configuration file: amounts, counts, shares, durations, names.

Each reader takes a value that `source` read. It raises ValueError with a text that says what to write.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator

from services.cli.configuration.source import Number
from services.kernel.errors import InvalidInput
from services.kernel.header_names import read_allowed
from services.kernel.money import parse_price, parse_usd
from services.kernel.names import check_model, check_name, check_origin, check_user, split_target
from services.kernel.window import load_timezone

MAX_COUNT = 2**63 - 1
MAX_WEIGHT = 1_000
_MAX_ENVIRONMENT = 55

_SHARE = re.compile(r"(\d{1,4})(?:\.(\d{1,2}))?%")
_FACTOR = re.compile(r"(\d{1,4})(?:\.(\d{1,2}))?x")
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
_DURATION_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def read_amount(value: object) -> int:
    """Reads dollars, as nano-USD."""
    return parse_usd(_number(value, "an amount of dollars like 2000 or 12.50"))


def read_price(value: object) -> int:
    """Reads dollars per million tokens, as pico-USD per token."""
    return parse_price(_number(value, "a price like 2.50"))


def read_count(value: object) -> int:
    """Reads a whole number that is not negative."""
    text = _number(value, "a whole number like 50_000").replace("_", "")
    if not text.isdecimal() or int(text) > MAX_COUNT:
        raise ValueError(f"{text} is not a count: write a whole number like 50_000")
    return int(text)


def read_header(value: object) -> str:
    """Reads the name of a header that may pass at a provider, in lower case."""
    if not isinstance(value, str):
        raise ValueError("write the name of a header, like x-title")  # noqa: TRY004  (pydantic takes ValueError)
    try:
        (name,) = read_allowed("", (value,))
    except InvalidInput as error:
        raise ValueError(error.problem) from error
    return name


def read_weight(value: object) -> int:
    """Reads the share of calls for one of several targets, relative to the others."""
    weight = read_count(value)
    if not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"a weight is a whole number from 1 to {MAX_WEIGHT}")
    return weight


def read_share(value: object) -> int:
    """Reads a share like 75% or 99.5%, as basis points."""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a percentage like 80% (at most two decimals)")
    basis_points = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 1 <= basis_points <= 100_000:
        raise ValueError("a percentage must be above 0% and at most 1000%")
    return basis_points


def read_part(value: object) -> int:
    """Reads a share of at most 100%, as basis points."""
    basis_points = read_share(value)
    if basis_points > 10_000:
        raise ValueError("write at most 100%")
    return basis_points


def read_factor(value: object) -> int:
    """Reads a multiple like 10x or 2.5x, as hundredths."""
    match = _FACTOR.fullmatch(value) if isinstance(value, str) else None
    percent = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
    if not 200 <= percent <= 100_000:
        raise ValueError("write a multiple from 2x to 1000x, like 10x or 2.5x")
    return percent


def read_duration(value: object) -> int:
    """Reads a duration like 8s, 1m or 30d, as milliseconds."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("write a duration like 500ms, 8s, 5m, 2h or 30d")
    return int(match[1]) * _DURATION_UNITS_MS[match[2]]


def read_time(value: object) -> datetime:
    """Reads a moment like 2027-01-31T00:00:00Z, or a date, which begins at midnight UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or (moment.tzinfo is None and isinstance(value, str) and len(value) > 10):
        raise ValueError("write a time like 2027-01-31T00:00:00Z, or a date like 2027-01-31")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_environment(value: str) -> str:
    """Reads the name of an environment. The name of its default policy is derived from it."""
    if len(value) > _MAX_ENVIRONMENT:
        raise ValueError(f"the name of an environment has at most {_MAX_ENVIRONMENT} characters")
    return value


def read_timezone(value: str) -> str:
    """Reads an IANA time zone."""
    load_timezone(value)
    return value


def read_target(value: str) -> str:
    """Reads a target, "provider/model"."""
    try:
        split_target("", value)
    except InvalidInput as error:
        raise ValueError(error.problem) from error
    return value


def read_variable(value: str) -> str:
    """Reads the name of an environment variable. Errors do not repeat text that looks like a secret."""
    if not _VARIABLE.fullmatch(value):
        raise ValueError("write the name of an environment variable, for example OPENAI_API_KEY, never a key itself")
    return value


def read_http_url(value: str) -> str:
    """Reads the base address of a server that calls go to."""
    problem = "write an address like https://example.com/v1, without user, query or fragment"
    if _parts(value, problem).query:
        raise ValueError(problem)
    return value


def read_webhook(value: str) -> str:
    """Reads an address that alerts are posted to. Some services need a query there."""
    _parts(value, "write an address like https://example.com/hook, without user or fragment")
    return value


def _parts(value: str, problem: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(problem) from error
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc or parts.fragment:
        raise ValueError(problem)
    if any(character <= " " for character in value):
        raise ValueError(problem)
    if _is_link_local(host):
        raise ValueError(f"{host} is a link-local address, where clouds keep their metadata service: it is not allowed")
    return parts


def _is_link_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_link_local


def _number(value: object, example: str) -> str:
    if not isinstance(value, Number):
        quoted = isinstance(value, str) and value.replace("_", "").replace(".", "").isdecimal()
        raise ValueError(f"write {example}{' without quotes' if quoted else ''}")  # noqa: TRY004  (pydantic's protocol)
    return value.text


def _checked(check: Callable[[str, str], str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        try:
            return check("", value)
        except InvalidInput as error:
            raise ValueError(error.problem) from error

    return read


Amount = Annotated[int, BeforeValidator(read_amount)]
"""Nano-USD."""
TokenPrice = Annotated[int, BeforeValidator(read_price)]
"""Pico-USD per token."""
Count = Annotated[int, BeforeValidator(read_count)]
Share = Annotated[int, BeforeValidator(read_share)]
"""Basis points, up to 100 000."""
Part = Annotated[int, BeforeValidator(read_part)]
"""Basis points, up to 10 000."""
Factor = Annotated[int, BeforeValidator(read_factor)]
"""Hundredths."""
DurationMs = Annotated[int, BeforeValidator(read_duration)]
Moment = Annotated[datetime, BeforeValidator(read_time)]
TimezoneName = Annotated[str, AfterValidator(read_timezone)]
Name = Annotated[str, AfterValidator(_checked(check_name))]
EnvironmentName = Annotated[Name, AfterValidator(read_environment)]
ModelName = Annotated[str, AfterValidator(_checked(check_model))]
UserName = Annotated[str, AfterValidator(_checked(check_user))]
Target = Annotated[str, AfterValidator(read_target)]
"""provider/model."""
VariableName = Annotated[str, AfterValidator(read_variable)]
HeaderName = Annotated[str, BeforeValidator(read_header)]
"""Name of a header, in lower case."""
HttpUrl = Annotated[str, AfterValidator(read_http_url)]
WebhookUrl = Annotated[str, AfterValidator(read_webhook)]
Origin = Annotated[str, AfterValidator(_checked(check_origin))]
"""The origin of web pages, or a pattern for some."""
