"""Output of commands: tables for people, one JSON document for programs, and remarks on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import orjson
import typer

if TYPE_CHECKING:
    # `spendgate up` runs for months without it.
    from google.protobuf.message import Message

Item = TypeVar("Item")

# Wide enough that nothing is cut off when the output goes into a pipe.
_PIPE_COLUMNS = 400


def print_json(document: object) -> None:
    """Prints the one document on standard output."""
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def fields_of(message: Message, *names: str) -> dict[str, object]:
    """Returns these fields of a message, for a document that has them under the same names."""
    return {name: getattr(message, name) for name in names}


def print_json_line(document: object) -> None:
    """Prints one of a stream of documents."""
    print(orjson.dumps(document).decode(), flush=True)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: frozenset[str] = frozenset()
) -> None:
    """Prints rows under headings. Columns in `numeric` are right-aligned."""
    # Imported here, because most commands print no table, and `spendgate up` runs for months.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

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
    """Prints a sentence on standard output."""
    print(visible(text))


def print_result(document: object, text: str, *, as_json: bool) -> None:
    """Prints the result of a command: a document for programs, a sentence for people."""
    if as_json:
        print_json(document)
    else:
        print_text(text)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """The presentation of a list."""

    name: str
    """Name of the list in the document."""
    columns: Sequence[str]
    row: Callable[[Item], Sequence[object]]
    """Returns the cells of an item, one for each column."""
    document: Callable[[Item], object]
    """Returns an item's JSON for programs."""
    empty: str
    """The text for an empty list: how to get an item."""
    numeric: frozenset[str] = frozenset()
    """Right-aligned columns."""

    def print(self, items: Sequence[Item], *, as_json: bool) -> None:
        """Prints a document for programs. For people it prints a table, or a sentence when the list is empty."""
        if as_json:
            print_json({self.name: [self.document(item) for item in items]})
        elif not items:
            print_text(self.empty)
        else:
            print_table(self.columns, [self.row(item) for item in items], numeric=self.numeric)


def remark(text: str) -> None:
    """Prints a line on standard error."""
    typer.echo(visible(text), err=True)


def fail(text: str, *, as_json: bool) -> None:
    """Prints an error: a document for programs, and always lines for people."""
    if as_json:
        print_json({"error": text})
    for line in text.splitlines():
        typer.echo(f"error: {visible(line)}", file=sys.stderr)


def visible(text: str) -> str:
    """Replaces control characters, because text from a client must not steer the terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
