"""Long work that lets calls in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

E = TypeVar("E")


class Turns(Protocol):
    """Gives waiting calls their turn. Safe to use from any thread."""

    def between(self, slices: Iterable[E]) -> Iterator[E]:
        """The same slices, with a pause between two of them."""
        ...
