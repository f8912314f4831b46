"""A provider that none of us wrote: `@copilotkit/aimock`, in every dialect. `node/aimock.mjs` has its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.clients.install import node_script
from tests.clients.program import run_program

LOOP = "Look at the weather in a loop, please."
"""Makes it call the tool of whoever brings one it knows, `TURNS` times."""
TURNS = 10
TOKENS_OF_LOOP = sum(2_000 + 100 * turn for turn in range(TURNS + 1)), sum(40 + turn for turn in range(TURNS + 1))
"""Input and output that it reports for all answers of a loop."""


@dataclass(frozen=True, slots=True)
class Aimock:
    """A running server."""

    url: str
    """Without a path."""

    def journal(self) -> list[dict[str, Any]]:
        """What it was asked and answered, oldest first."""
        return list(httpx.get(f"{self.url}/__aimock/journal", params={"limit": 5000}).json())


@contextmanager
def run_aimock(folder: Path) -> Iterator[Aimock]:
    """Serves until the block ends."""
    with run_program(node_script("aimock.mjs"), folder) as program:
        yield Aimock(program.line())


def case(number: int) -> str:
    """What to ask so that it reports `tokens_of(number)`."""
    return f"Please answer case {number}."


def tokens_of(number: int) -> tuple[int, int]:
    """Input and output of a case."""
    return 1_000 + 7 * number, 100 + 3 * number
