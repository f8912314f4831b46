"""Tables in Markdown, and how their cells are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without a heading."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table below its heading."""
    return f"### {title}\n\n{table(head, rows)}"


def slashed(values: Iterable[float]) -> str:
    """Milliseconds that belong together, such as p50 / p99."""
    return " / ".join(f"{value:.2f}" for value in values)


def named(gateway: str) -> str:
    """A gateway of the bench as the page calls it."""
    return {"direct": "provider alone", "raw": "plain Envoy"}.get(gateway, gateway)
