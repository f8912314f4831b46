"""Programs write their parts of the page, and leave what people and other programs wrote."""

from __future__ import annotations

from pathlib import Path

from tests.bench import page, report
from tests.worlds.bench_run import Round, bench_run

RUN = report.Run(rounds=2, seconds=2.0, today="2026-11-27", pinned=True, awake=False, stolen=0.0)


def test_a_part_is_replaced_and_everything_else_stays() -> None:
    before = (
        "# Title\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n\nWords.\n\n<!-- bench:b -->\nkept\n<!-- /bench:b -->\n"
    )

    after = page.replaced(before, "a", r"new \1")

    assert after == before.replace("\nold\n", "\n\nnew \\1\n\n")


def test_a_part_that_the_page_lacks_comes_last() -> None:
    assert page.replaced("# Title\n", "a", "new") == "# Title\n\n<!-- bench:a -->\n\nnew\n\n<!-- /bench:a -->\n"


def test_a_report_written_twice_is_the_same_and_keeps_the_words_of_people(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text("# Benchmarks\n\n<!-- bench:summary -->\n<!-- /bench:summary -->\n\nWritten by hand.\n")
    samples = bench_run(Round(), Round(raw_us=110.0))

    report.write(file, samples, RUN)
    once = file.read_text()
    report.write(file, samples, RUN)

    assert file.read_text() == once
    assert "\n\nWritten by hand.\n\n<!-- bench:tables -->" in once
    assert (tmp_path / "benchmarks.svg").read_text().startswith("<svg")
    assert "](benchmarks.svg)" in once


def test_every_table_has_a_cell_for_each_column(tmp_path: Path) -> None:
    report.write(tmp_path / "page.md", bench_run(Round(), Round()), RUN)
    lines = (tmp_path / "page.md").read_text().splitlines()

    tables = [block for block in "\n".join(lines).split("\n\n") if block.startswith("| ")]
    assert len(tables) > 9
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
