"""What commands write: tables for people, one JSON document for programs, and remarks on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Item = TypeVar("Item")

# Wide enough that nothing is cut when the output goes into a pipe.
_PIPE_COLUMNS = 400


def print_json(document: object) -> None:
    """The one document on standard output."""
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def print_json_line(document: object) -> None:
    """One of a stream of documents."""
    print(orjson.dumps(document).decode(), flush=True)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: frozenset[str] = frozenset()
) -> None:
    """Rows under headings; columns in `numeric` stand to the right."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))


def print_text(text: str) -> None:
    """A sentence on standard output."""
    print(visible(text))


def print_result(document: object, text: str, *, as_json: bool) -> None:
    """What a command did: a document for programs, a sentence for people."""
    if as_json:
        print_json(document)
    else:
        print_text(text)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """How a list is shown."""

    name: str
    """Of the list in the document."""
    columns: Sequence[str]
    row: Callable[[Item], Sequence[object]]
    """The cells of an item, one for each column."""
    document: Callable[[Item], object]
    """What programs are told of an item."""
    empty: str
    """What people are told when there are no items: how one comes about."""
    numeric: frozenset[str] = frozenset()
    """Columns that stand to the right."""

    def print(self, items: Sequence[Item], *, as_json: bool) -> None:
        """A document for programs; a table, or a sentence when it is empty, for people."""
        if as_json:
            print_json({self.name: [self.document(item) for item in items]})
        elif not items:
            print_text(self.empty)
        else:
            print_table(self.columns, [self.row(item) for item in items], numeric=self.numeric)


def remark(text: str) -> None:
    """A line on standard error."""
    typer.echo(visible(text), err=True)


def fail(text: str, *, as_json: bool) -> None:
    """An error: a document for programs, and always lines for people."""
    if as_json:
        print_json({"error": text})
    for line in text.splitlines():
        typer.echo(f"error: {visible(line)}", file=sys.stderr)


def visible(text: str) -> str:
    """Without control characters: what came from a client must not steer the terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
