"""What calls taught about many pairs of key and model, in little memory.

As objects a pair takes 615 bytes. Packed, with one string for both names and one of bytes for all numbers, it takes
245.
"""

from __future__ import annotations

import struct

from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.scale import Scale
from services.quota.domain.admission.unmeasured import Taught

Pair = tuple[str, str]
"""A key's id and a model."""

# Typical input and output tokens, then the five numbers of each scale. SQLite keeps no larger ones either.
_FORM = struct.Struct("<12q")
_TYPICAL = struct.Struct("<2q")
# Ids of keys never contain it.
_BETWEEN = "\0"


class PackedTaught:
    """Up to `most` pairs. Beyond this number the pair learned first makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._packed: dict[str, bytes] = {}

    def typical(self, key_id: str, model: str) -> Tokens | None:
        """What calls of a pair typically take. Each Check asks for it, so nothing else is unpacked."""
        packed = self._packed.get(f"{key_id}{_BETWEEN}{model}")
        return None if packed is None else Tokens(*_TYPICAL.unpack_from(packed))

    def get(self, key_id: str, model: str) -> Taught | None:
        """What is known about a pair."""
        packed = self._packed.get(f"{key_id}{_BETWEEN}{model}")
        if packed is None:
            return None
        tokens_in, tokens_out, *scales = _FORM.unpack(packed)
        return Taught(Tokens(tokens_in, tokens_out), Scale(*scales[:5]), Scale(*scales[5:]))

    def put(self, key_id: str, model: str, taught: Taught) -> None:
        """Replaces what is known about a pair."""
        typical = taught.typical or Tokens(0, 0)
        packed = _FORM.pack(typical.input, typical.output, *taught.request, *taught.answer)
        self._packed[f"{key_id}{_BETWEEN}{model}"] = packed

    def make_room(self) -> list[Pair]:
        """Forgets the pairs learned first, and returns them."""
        dropped = list(self._packed)[: len(self._packed) - self._most] if len(self._packed) > self._most else []
        for name in dropped:
            del self._packed[name]
        return [(key_id, model) for key_id, _, model in (name.partition(_BETWEEN) for name in dropped)]
