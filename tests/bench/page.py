"""The parts of docs/benchmarks.md that programs write. People write what is between them.

A part stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`. So one program never touches another's figures.
"""

from __future__ import annotations

import re
from pathlib import Path


def put(file: Path, part: str, text: str) -> None:
    """Replaces the text of a part. A page without the part, or no page, gets it at its end."""
    page = file.read_text("utf-8") if file.exists() else "# Benchmarks\n"
    file.write_text(replaced(page, part, text), "utf-8")


def replaced(page: str, part: str, text: str) -> str:
    """The page with another text in a part."""
    begin, end = f"<!-- bench:{part} -->", f"<!-- /bench:{part} -->"
    written = f"{begin}\n\n{text.strip()}\n\n{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(page):
        return found.sub(lambda _: written, page)
    return f"{page.rstrip()}\n\n{written}\n"
