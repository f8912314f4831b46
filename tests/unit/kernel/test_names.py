from __future__ import annotations

from collections.abc import Callable

import pytest

from services.kernel.clock import ManualClock
from services.kernel.errors import InvalidInput
from services.kernel.names import (
    admitted_ms,
    check_model,
    check_name,
    check_unique,
    check_user,
    first_reservation_id,
    reservation_id,
    split_target,
)
from services.kernel.scope import has_parts, part_scope, run_of, scope_name


@pytest.mark.parametrize("name", ["a", "data-science", "Team_1.b", "9lives", "x" * 63])
def test_plain_names_pass(name: str) -> None:
    assert check_name("teams[0].name", name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a,b", "a=b", "x" * 64, "a\n", "\u00e9"])
def test_other_names_are_refused_with_their_field(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_name("teams[0].name", name)

    assert caught.value.field == "teams[0].name"


@pytest.mark.parametrize("check", [check_model, check_user])
@pytest.mark.parametrize("name", ["ada@example.com", "us.anthropic.claude-x:0", "@cf/meta/llama", "a", "x" * 256])
def test_users_and_models_may_carry_more(check: Callable[[str, str], str], name: str) -> None:
    assert check("field", name) == name


@pytest.mark.parametrize("check", [check_model, check_user])
@pytest.mark.parametrize("name", ["", "a b", "a,b", "a=b", "a\n", "/a", "a/", "x" * 257, "a\x00b"])
def test_nothing_that_breaks_a_scope_or_a_line_names_a_user_or_model(
    check: Callable[[str, str], str], name: str
) -> None:
    with pytest.raises(InvalidInput):
        check("field", name)


def test_a_target_is_split_at_its_first_slash() -> None:
    assert split_target("to", "openrouter/meta/llama-3") == ("openrouter", "meta/llama-3")
    with pytest.raises(InvalidInput, match="write provider/model"):
        split_target("to", "gpt-4o")


def test_a_manual_clock_moves_only_when_it_is_told() -> None:
    clock = ManualClock(5)
    assert [clock.now_ms(), clock.now_ms()] == [5, 5]

    clock.advance(10)
    assert clock.now_ms() == 15


def test_a_name_that_comes_twice_is_refused_where_it_comes_again() -> None:
    check_unique("teams", ["a", "b"])
    with pytest.raises(InvalidInput, match=r"'a' is there already, at teams\[0\]") as caught:
        check_unique("teams", ["a", "b", "a"])

    assert caught.value.field == "teams[2].name"


Parts = tuple[tuple[str, str], ...]
NONE: Parts = ()
EACH_USER: Parts = (("environment", "dev"), ("user", ""))


def test_a_scope_names_its_properties_in_order() -> None:
    assert scope_name([("environment", "dev"), ("user", "ada@example.com")]) == "environment=dev,user=ada@example.com"
    assert scope_name(NONE) == "organization"


def test_a_run_comes_last_whatever_it_holds() -> None:
    assert part_scope("team=a", "run", "x,run=y") == "team=a,run=x,run=y"
    assert part_scope("organization", "run", "x") == "run=x"
    assert run_of("team=a,run=x,run=y") == "x,run=y"
    assert run_of("team=a") == ""


@pytest.mark.parametrize(
    ("scope", "parts", "has_run", "fits"),
    [
        ("organization", NONE, False, True),
        ("team=a", NONE, False, False),
        ("run=x", NONE, True, True),
        ("organization", NONE, True, False),
        ("environment=dev,user=ada", EACH_USER, False, True),
        ("environment=prod,user=ada", EACH_USER, False, False),
        ("environment=dev", EACH_USER, False, False),
        ("environment=dev,user=", EACH_USER, False, False),
        ("environment=dev,user=ada,model=m", EACH_USER, False, False),
        ("environment=dev,user=ada,run=x", EACH_USER, False, False),
        ("environment=dev,user=ada,run=x,y", EACH_USER, True, True),
        ("environment=dev,user=ada", EACH_USER, True, False),
    ],
)
def test_a_scope_is_known_by_its_parts(scope: str, parts: Parts, has_run: bool, fits: bool) -> None:
    assert has_parts(scope, parts, has_run=has_run) is fits


def test_ids_sort_by_time() -> None:
    early, late = reservation_id(999, bytes([255] * 8)), reservation_id(1_000, bytes(8))

    assert early < first_reservation_id(1_000) < late
    assert late == "rsv_0000000003e80000000000000000"


def test_an_id_tells_when_its_call_was_admitted() -> None:
    assert admitted_ms(reservation_id(1_795_464_000_123, bytes(8))) == 1_795_464_000_123


@pytest.mark.parametrize("text", ["", "rsv_", "rsv_0000000003e8", "rsv_0000000003e8zz", "reservation-1"])
def test_what_is_no_id_of_ours_tells_no_time(text: str) -> None:
    assert admitted_ms(text) is None
