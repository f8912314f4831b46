from __future__ import annotations

import pytest

from services.kernel.limit_kind import CallQuantities, LimitKind


@pytest.mark.parametrize("kind", LimitKind)
def test_quota_adds_up_calls_and_the_ledger_measures_their_sum_and_both_find_the_same(kind: LimitKind) -> None:
    calls = [CallQuantities(7, 100, 3), CallQuantities(0, 5, 40), CallQuantities(11, 0, 0)]

    together = CallQuantities(*map(sum, zip(*calls, strict=True)))

    assert kind.measure(together) == sum(map(kind.measure, calls))
