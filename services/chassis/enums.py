"""Maps protobuf enums to ours, or to names that people write. The tables follow from the names of the members.

Every protobuf enum starts with `PREFIX_UNSPECIFIED` as number 0 (https://google.aip.dev/126; `buf lint` checks it).
After the prefix, its other values have the names of our enum's members: `LIMIT_KIND_SPEND` is `LimitKind.SPEND`. Each
table is made at import and refuses two enums that do not match. A value added on only one side fails there, and not in
the middle of a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from services.kernel.errors import InvalidInput

_UNSPECIFIED = "UNSPECIFIED"

E = TypeVar("E", bound=Enum)
N = TypeVar("N", bound=int)
N_co = TypeVar("N_co", bound=int, covariant=True)


class ProtobufEnum(Protocol[N_co]):
    """A generated enum."""

    def items(self) -> Iterable[tuple[str, N_co]]:
        """Returns its names with their numbers."""
        ...


@dataclass(frozen=True, slots=True)
class EnumTable(Generic[E, N]):
    """One of our enums with its numbers on the wire."""

    members: Mapping[int, E]
    """By number. Use `get` for a number that comes from outside."""
    numbers: Mapping[E, N]
    """By member. Every member has one."""

    def read(self, field: str, number: int, what: str) -> E:
        """Returns the member of a number in a request. `field` is its path there, `what` says what it should be.

        Raises:
            InvalidInput: only a later release knows the number.
        """
        member = self.members.get(number)
        if member is None:
            raise InvalidInput(field, f"{number} is not a known {what}")
        return member


def enum_table(protobuf: ProtobufEnum[N], ours: type[E], *, unspecified: E | None = None) -> EnumTable[E, N]:
    """Returns the table between two enums whose members have the same names.

    Number 0 means `unspecified`, or no member if that is None.

    Raises:
        TypeError: a member has no number, or a number no member.
    """
    zero, by_name = _split(protobuf)
    differing = sorted(by_name.keys() ^ {member.name for member in ours})
    if differing:
        raise TypeError(f"{ours.__name__} and its protobuf enum differ in {', '.join(differing)}")
    numbers = {member: by_name[member.name] for member in ours}
    members: dict[int, E] = {number: member for member, number in numbers.items()}
    if unspecified is not None:
        members[zero] = unspecified
    return EnumTable(members, numbers)


def enum_texts(protobuf: ProtobufEnum[N], ours: type[E]) -> dict[str, N]:
    """Returns the numbers by the texts of our members, for texts that come from a store.

    Raises:
        TypeError: a member has no number, or a number no member.
    """
    return {str(member.value): number for member, number in enum_table(protobuf, ours).numbers.items()}


def enum_names(protobuf: ProtobufEnum[N]) -> dict[N, str]:
    """Returns the names for people, by number: "team_admin" for `ROLE_TEAM_ADMIN`. Number 0 has none."""
    _, by_name = _split(protobuf)
    return {number: name.lower() for name, number in by_name.items()}


def enum_numbers(protobuf: ProtobufEnum[N]) -> dict[str, N]:
    """Returns the inverse of `enum_names`: numbers by the name that people write."""
    return {name: number for number, name in enum_names(protobuf).items()}


def _split(protobuf: ProtobufEnum[N]) -> tuple[N, dict[str, N]]:
    """Returns number 0, and the other numbers by their names without the prefix."""
    (first, zero), *others = protobuf.items()
    prefix = first.removesuffix(_UNSPECIFIED)
    strangers = [name for name, _ in others if not name.startswith(prefix)]
    if zero != 0 or prefix == first or strangers:
        raise TypeError(f"{first} is not PREFIX_{_UNSPECIFIED} = 0 with the prefix of all values")
    return zero, {name.removeprefix(prefix): number for name, number in others}
