"""A provider whose name leads to a metadata service is refused, and one whose name begins to is left at once."""

from __future__ import annotations

import pytest

from services.kernel.change import Actor, Authorship
from services.kernel.dialect import Dialect
from services.kernel.errors import InvalidInput
from services.router.domain.model import ChainSlot, Model, WeightedTarget
from services.router.domain.provider import Provider
from services.router.domain.secret import SecretReference, SecretSource
from services.router.usecases.watch_names import names_of_servers
from tests.worlds.router import Router

NAME = "models.example.com"
KEY = SecretReference(SecretSource.ENV, "LAB_KEY")
LAB = Provider("lab", KEY, protocol=Dialect.OPENAI, base_url=f"http://{NAME}/v1")
SPARE = Provider("spare", KEY, protocol=Dialect.OPENAI, base_url="http://10.0.0.7:8081/v1")
MODEL = Model("m", tuple(ChainSlot((WeightedTarget(f"{name}/m"),)) for name in ("lab", "spare")))


def apply(router: Router) -> None:
    router.administrator.take_names(router.names.look(names_of_servers([LAB, SPARE])))
    router.administrator.apply([LAB, SPARE], [MODEL], validate_only=False, by=Authorship(Actor("root", "platform")))


def targets(router: Router) -> list[str]:
    """Who serves the model, in order."""
    (plan,) = router.administrator.plans
    return [one.target for slot in plan.tiers[0].chain for one in slot.targets]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "203.0.113.7 100.100.100.200", "::ffff:168.63.129.16", "fd00:ec2::254"]
)
def test_a_name_that_leads_to_a_metadata_service_is_refused_when_it_is_applied(address: str) -> None:
    router = Router()
    router.addresses[NAME] = address
    with pytest.raises(InvalidInput, match=f"{NAME} resolves to .*, a metadata service") as caught:
        apply(router)
    assert caught.value.field == "providers[0].base_url"
    assert router.administrator.configuration.providers == ()


@pytest.mark.parametrize("address", ["203.0.113.7", "127.0.0.1", "10.1.2.3", "::1", ""])
def test_a_name_that_leads_anywhere_else_or_nowhere_yet_is_taken(address: str) -> None:
    router = Router()
    if address:
        router.addresses[NAME] = address
    apply(router)
    assert targets(router) == ["lab/m", "spare/m"]


def test_a_name_that_begins_to_lead_there_gets_no_calls_until_it_leads_elsewhere() -> None:
    router = Router()
    router.addresses[NAME] = "203.0.113.7"
    apply(router)
    router.addresses[NAME] = "169.254.169.254"
    router.look_up()
    assert targets(router) == ["spare/m"]
    assert "lab.openai" not in router.clusters
    problem = router.administrator.credential_problem(LAB)
    assert problem == f"{NAME} resolves to 169.254.169.254, a metadata service: no call goes there"

    # It does not become good by not resolving.
    del router.addresses[NAME]
    router.look_up()
    assert targets(router) == ["spare/m"]
    router.addresses[NAME] = "203.0.113.8"
    router.look_up()
    assert targets(router) == ["lab/m", "spare/m"]
    assert router.administrator.credential_problem(LAB) == ""
