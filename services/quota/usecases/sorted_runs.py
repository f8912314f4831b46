"""Very many names in order, of which each reader needs only some.

To sort them all at once would hold the interpreter for as long as it takes: a tenth of a second for 100,000. So they
are sorted in runs of some hundred, and a reader merges as much of the runs as it needs.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from services.quota.ports.turns import Turns

AT_ONCE = 100
"""How many items a slice looks at: about half a millisecond."""
_IN_A_RUN = 1_000

E = TypeVar("E")


def in_parts(items: Iterable[E]) -> Iterator[list[E]]:
    """Splits items into parts of `AT_ONCE`, and makes them part by part."""
    rest = iter(items)
    while some := list(islice(rest, AT_ONCE)):
        yield some


class SortedRuns:
    """A set of names in sorted runs."""

    __slots__ = ("_runs", "_some")

    def __init__(self) -> None:
        self._runs: list[list[str]] = []
        self._some: set[str] = set()

    @classmethod
    def of(cls, names: Iterable[str | None], turns: Turns) -> SortedRuns:
        """The set of these names, without None, which stands for an item that was looked at in vain."""
        made = cls()
        for some in turns.between(in_parts(names)):
            for name in some:
                if name is not None:
                    made.add(name)
        return made

    def add(self, name: str) -> None:
        """Adds a name."""
        self._some.add(name)
        if len(self._some) >= _IN_A_RUN:
            self._runs.append(sorted(self._some))
            self._some = set()

    def runs(self) -> list[list[str]]:
        """The runs. A name may be in several."""
        return [*self._runs, sorted(self._some)]


def merged(sets: Iterable[SortedRuns], after: str) -> Iterator[str]:
    """The names of all these sets after this one, in order, each once. Empty: from the first name on."""
    parts = [run for each in sets for run in each.runs()]
    rests = [islice(run, bisect_right(run, after), None) for run in parts]
    last = after
    for name in heapq.merge(*rests):
        if name != last:
            yield name
            last = name
