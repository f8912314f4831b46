from __future__ import annotations

from services.ledger.domain.dropped import Direction, DroppedHeader, count_dropped
from tests.worlds.spool_lines import call


def test_each_call_counts_a_header_once() -> None:
    counts = count_dropped(
        [call(1, dropped="main>x-a,main<x-b"), call(2, dropped="main>x-a,main>x-a,second<x-b"), call(3, dropped=None)]
    )
    assert counts == {
        DroppedHeader("main", Direction.REQUEST, "x-a"): 2,
        DroppedHeader("main", Direction.ANSWER, "x-b"): 1,
        DroppedHeader("second", Direction.ANSWER, "x-b"): 1,
    }


def test_what_reads_as_no_header_is_left_out() -> None:
    assert count_dropped([call(1, dropped="main,>x,main>,main>X A,main>" + "x" * 65 + ",a>b>c")]) == {}
