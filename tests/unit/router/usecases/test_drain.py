from __future__ import annotations

import pytest

from services.kernel.change import OWNER
from services.kernel.errors import FailedPrecondition, NotFound
from tests.worlds.router import Router, budget, fallback, lab, model


def apply(router: Router) -> None:
    routes = [
        model("pair", "lab/first", fallbacks=(fallback("lab/second", when=budget(7_500)),)),
        model("alone", "lab/first"),
        model("other", "lab/third"),
    ]
    router.administrator.apply([lab()], routes, validate_only=False, by=OWNER)


@pytest.fixture
def router() -> Router:
    made = Router()
    apply(made)
    return made


def chains(router: Router) -> dict[str, list[list[str]]]:
    return {
        plan.model: [[one.target for slot in tier.chain for one in slot.targets] for tier in plan.tiers]
        for plan in router.administrator.plans
    }


def test_a_drained_target_leaves_every_chain_until_it_is_let_in_again(router: Router) -> None:
    before = chains(router)
    router.drain.drain("lab/second", force=False, by=OWNER)
    assert chains(router) == {"alone": [["lab/first"]], "other": [["lab/third"]], "pair": [["lab/first"]]}
    router.drain.undrain("lab/second", by=OWNER)
    assert chains(router) == before


def test_draining_survives_an_application_and_a_restart(router: Router) -> None:
    router.drain.drain("lab/second", force=False, by=OWNER)
    apply(router)
    assert chains(router)["pair"] == [["lab/first"]]
    again = Router(router.engine)
    assert chains(again)["pair"] == [["lab/first"]]
    again.drain.undrain("lab/second", by=OWNER)
    assert chains(Router(router.engine))["pair"] == [["lab/first", "lab/second"], ["lab/second"]]


def test_the_last_usable_target_of_a_model_is_drained_only_by_force(router: Router) -> None:
    before = chains(router)
    with pytest.raises(FailedPrecondition, match=r"last usable target of alone:"):
        router.drain.drain("lab/first", force=False, by=OWNER)
    assert chains(router) == before
    assert router.drain.drain("lab/first", force=True, by=OWNER).models_without_target == ("alone",)
    assert chains(router) == {"alone": [], "other": [["lab/third"]], "pair": [["lab/second"]]}
    (emptied,) = (plan for plan in router.administrator.plans if plan.model == "alone")
    # Nobody looks for a credential that is there.
    assert emptied.providers_without_credential == ()


def test_the_second_of_two_drains_sees_the_first(router: Router) -> None:
    router.drain.drain("lab/second", force=False, by=OWNER)
    with pytest.raises(FailedPrecondition, match="alone, pair"):
        router.drain.drain("lab/first", force=False, by=OWNER)


def test_draining_twice_is_like_draining_once(router: Router) -> None:
    router.drain.drain("lab/second", force=False, by=OWNER)
    since_ms = router.administrator.drained["lab/second"].since_ms
    router.clock.advance(1_000)
    router.drain.drain("lab/second", force=False, by=OWNER)
    assert router.administrator.drained["lab/second"].since_ms == since_ms


def test_a_target_that_nobody_has_is_not_drained(router: Router) -> None:
    with pytest.raises(NotFound, match="lab/first"):
        router.drain.drain("lab/frist", force=False, by=OWNER)
    with pytest.raises(NotFound, match="drained target"):
        router.drain.undrain("lab/first", by=OWNER)
