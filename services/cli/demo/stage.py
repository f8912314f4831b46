"""The demo's output: a line for each day, a paragraph for each event. Plain text without a terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from services.kernel.money import format_usd

_BAR_CELLS = 24
_MARGIN = "        "
_WIDTH = 110
_FULL_BASIS_POINTS = 10_000


class Stage:
    """Prints to standard output, or to standard error if standard output is for a JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True, stderr=as_json)

    def title(self, text: str) -> None:
        """Prints a heading."""
        self._console.print(Text(f"\n{text}", style="bold"))

    def say(self, text: str) -> None:
        """Prints a paragraph."""
        for line in textwrap.wrap(text, _WIDTH):
            self._console.print(Text(line))

    def literal(self, text: str) -> None:
        """Prints text to copy, or a quotation, without wrapping."""
        self._console.print(Text(f"  {text}", style="cyan"))

    def day(self, day: int, used_basis_points: int, settled_nano_usd: int, note: str) -> None:
        """Prints the progress of the month."""
        filled = min(_BAR_CELLS, used_basis_points * _BAR_CELLS // _FULL_BASIS_POINTS)
        line = Text(f"day {day:>2}  ")
        line.append("█" * filled, style=_colour(used_basis_points))
        line.append("░" * (_BAR_CELLS - filled), style="dim")
        line.append(f"  {percent(used_basis_points):>6}  ${format_usd(settled_nano_usd)}  {note}")
        self._console.print(line)

    def event(self, headline: str, text: str) -> None:
        """Prints a notable event."""
        self._console.print(Text(f"{_MARGIN}{headline}", style="bold yellow"))
        for line in textwrap.wrap(text, _WIDTH):
            self._console.print(Text(f"{_MARGIN}{line}"))

    def verdict(self, text: str) -> None:
        """Prints a check that passed."""
        first, *rest = textwrap.wrap(text, _WIDTH)
        self._console.print(Text.assemble(("  ok  ", "bold green"), first))
        for line in rest:
            self._console.print(Text(f"      {line}"))


def percent(basis_points: int) -> str:
    """Formats a share with two decimals, rounded down: 100 % appears only when nothing is left."""
    return f"{basis_points // 100}.{basis_points % 100:02d} %"


def _colour(used_basis_points: int) -> str:
    if used_basis_points >= 8_000:
        return "red"
    return "yellow" if used_basis_points >= 7_500 else "green"
