from __future__ import annotations

from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.cli.diagnosis.findings import Level
from services.cli.diagnosis.headers import examine_headers

REQUEST, ANSWER = ledger.DroppedHeader.DIRECTION_REQUEST, ledger.DroppedHeader.DIRECTION_ANSWER


def dropped(
    name: str, calls: int = 1, direction: ledger.DroppedHeader.Direction.ValueType = REQUEST, provider: str = "lab"
) -> ledger.DroppedHeader:
    return ledger.DroppedHeader(provider=provider, direction=direction, name=name, calls=calls)


def test_nothing_dropped_is_one_line_that_is_well() -> None:
    (finding,) = examine_headers([])
    assert (finding.level, finding.remedy) == (Level.OK, "")


def test_each_provider_has_a_line_for_each_direction() -> None:
    found = list(
        examine_headers(
            [
                dropped("x-title", 1204),
                dropped("x-hint", 3, provider="web"),
                dropped("x-odd", 2, ANSWER),
                dropped("http-referer"),
            ]
        )
    )
    assert [(one.name, one.level, one.text) for one in found] == [
        ("headers to lab", Level.WARN, "clients send in vain: x-title (1204 calls), http-referer (1 call)"),
        ("headers of lab", Level.OK, "clients do not get: x-odd (2 calls)"),
        ("headers to web", Level.WARN, "clients send in vain: x-hint (3 calls)"),
    ]
    assert found[0].remedy == "if they should pass: headers: {allow: [x-title, http-referer]} at the provider"


def test_the_remedy_never_names_what_may_not_be_allowed() -> None:
    mixed, never = (
        next(iter(examine_headers([dropped(name) for name in names])))
        for names in (("x-title", "x-goog-fieldmask"), ("x-http-method-override",))
    )
    assert "allow: [x-title]}" in mixed.remedy
    assert mixed.remedy.endswith("and clients should stop sending x-goog-fieldmask")
    assert never.remedy == "clients should stop sending x-http-method-override"


def test_many_names_are_counted() -> None:
    (finding,) = examine_headers([dropped(f"x-{at}") for at in range(9)])
    assert finding.text.endswith("x-4 (1 call) and 4 more")
