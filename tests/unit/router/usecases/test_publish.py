from __future__ import annotations

from services.kernel.change import OWNER
from services.router.domain.secret import SecretReference, SecretSource
from services.router.usecases.publish import Node
from tests.worlds.router import Router, lab, model

OLD = ([lab("old")], [model("m", "old/x")])
NEW = ([lab("new", "http://127.0.0.1:8082/v1")], [model("m", "new/x")])
EPOCH = "local-1795464000000"


def apply(router: Router, configuration: tuple[list, list]) -> None:  # type: ignore[type-arg]
    router.administrator.apply(*configuration, validate_only=False, by=OWNER)


def acknowledge(router: Router, node: Node) -> None:
    assert router.publisher.version is not None
    router.publisher.acknowledged(node, router.publisher.version)


def take(router: Router) -> None:
    """A quota connects and takes the plan."""
    assert router.publisher.plan is not None
    if not router.publisher.watchers:
        router.publisher.connect_watcher()
    router.publisher.plan_taken(router.publisher.watchers[0], router.publisher.plan.version)


def running(configuration: tuple[list, list] = OLD) -> tuple[Router, Node]:  # type: ignore[type-arg]
    """A router whose Envoy and quota have taken `configuration`."""
    router = Router()
    apply(router, configuration)
    node = router.publisher.connect_node(EPOCH)
    acknowledge(router, node)
    take(router)
    return router, node


def test_without_an_envoy_there_is_no_plan_and_the_first_acknowledgement_brings_it() -> None:
    router = Router()
    apply(router, OLD)
    assert router.publisher.plan is None
    node = router.publisher.connect_node(EPOCH)
    assert router.publisher.plan is None
    acknowledge(router, node)
    assert router.planned == {"old.gemini"}


def test_quota_names_a_cluster_only_after_every_connected_envoy_has_it() -> None:
    router, first = running()
    second = router.publisher.connect_node("other-1795464000001")
    apply(router, NEW)
    acknowledge(router, first)
    assert router.planned == {"old.gemini"}
    acknowledge(router, second)
    assert router.planned == {"new.gemini"}


def test_an_envoy_that_leaves_is_not_waited_for() -> None:
    router, first = running()
    second = router.publisher.connect_node("other-1795464000001")
    apply(router, NEW)
    acknowledge(router, first)
    router.publisher.disconnect_node(second)
    assert router.planned == {"new.gemini"}


def test_a_late_acknowledgement_of_an_older_version_does_not_count() -> None:
    router, node = running()
    before = router.publisher.version
    assert before is not None
    apply(router, NEW)
    router.publisher.acknowledged(node, before)
    assert router.planned == {"old.gemini"}


def test_a_cluster_stays_until_quota_has_the_new_plan_and_no_request_can_be_on_it() -> None:
    router, node = running()
    apply(router, NEW)
    assert router.clusters == ["new.gemini", "old.gemini"]
    acknowledge(router, node)
    router.clock.advance(3_600_000)
    router.publisher.tick()
    assert router.clusters == ["new.gemini", "old.gemini"]
    take(router)
    router.clock.advance(999)
    router.publisher.tick()
    assert router.clusters == ["new.gemini", "old.gemini"]
    router.clock.advance(1)
    router.publisher.tick()
    assert router.clusters == ["new.gemini"]


def test_a_cluster_that_is_wanted_again_does_not_retire() -> None:
    router, node = running()
    apply(router, NEW)
    acknowledge(router, node)
    take(router)
    apply(router, OLD)
    acknowledge(router, node)
    take(router)
    router.clock.advance(3_600_000)
    router.publisher.tick()
    assert router.clusters == ["old.gemini"]
    assert router.planned == {"old.gemini"}


def test_one_of_two_quotas_with_the_old_plan_keeps_its_clusters() -> None:
    router, node = running()
    behind = router.publisher.connect_watcher()
    apply(router, NEW)
    acknowledge(router, node)
    take(router)
    router.clock.advance(3_600_000)
    router.publisher.tick()
    router.clock.advance(3_600_000)
    router.publisher.tick()
    assert "old.gemini" in router.clusters
    router.publisher.disconnect_watcher(behind)
    router.publisher.tick()
    router.clock.advance(1_000)
    router.publisher.tick()
    assert "old.gemini" not in router.clusters


def test_a_refusal_keeps_the_plan_and_the_next_good_version_recovers() -> None:
    router, node = running()
    apply(router, NEW)
    router.publisher.refused(node, "Cluster: bad")
    router.clock.advance(3_600_000)
    router.publisher.tick()
    assert router.planned == {"old.gemini"}
    assert node.refusal == "Cluster: bad"
    apply(router, OLD)
    acknowledge(router, node)
    assert router.planned == {"old.gemini"}
    assert node.refusal == ""


def test_what_envoy_refused_is_gone_with_its_configuration() -> None:
    router, node = running()
    apply(router, ([lab("old"), lab("bad")], [model("m", "bad/x")]))
    router.publisher.refused(node, "Cluster: bad")
    apply(router, OLD)
    assert router.clusters == ["old.gemini"]


def test_a_provider_that_moves_keeps_its_old_cluster_for_the_requests_on_it() -> None:
    router, node = running()
    apply(router, ([lab("old", "http://127.0.0.1:1/v1")], [model("m", "old/x")]))
    moved, typical = sorted(router.clusters, reverse=True)
    assert (typical, moved[:11]) == ("old.gemini", "old.gemini~")
    assert router.planned == {"old.gemini"}
    acknowledge(router, node)
    assert router.planned == {moved}
    take(router)
    router.clock.advance(1_000)
    router.publisher.tick()
    assert router.clusters == [moved]


def test_a_refused_move_leaves_nothing_behind() -> None:
    router, node = running()
    apply(router, ([lab("old", "http://127.0.0.1:1/v1")], [model("m", "old/x")]))
    router.publisher.refused(node, "Cluster: bad")
    apply(router, NEW)
    assert router.clusters == ["new.gemini", "old.gemini"]


def test_the_same_configuration_again_makes_no_new_version() -> None:
    router, _ = running()
    before, plan = router.publisher.version, router.publisher.plan
    wakes: list[int] = []
    router.publisher.subscribe(lambda: wakes.append(1))
    apply(router, OLD)
    assert (router.publisher.version, router.publisher.plan, wakes) == (before, plan, [])


def test_a_plan_over_clusters_that_envoy_has_already_is_in_force_at_once() -> None:
    router, _ = running()
    version = router.publisher.version
    apply(router, ([lab("old")], [model("m", "old/x"), model("n", "old/y")]))
    assert router.publisher.version == version
    assert router.publisher.plan is not None
    assert [one.model for one in router.publisher.plan.plan.models] == ["m", "n"]


def test_going_back_to_a_plan_is_a_version_of_its_own() -> None:
    router, node = running()
    first = router.publisher.plan
    for configuration in (NEW, OLD):
        apply(router, configuration)
        acknowledge(router, node)
    assert first is not None
    assert router.publisher.plan is not None
    assert router.publisher.plan.plan == first.plan
    assert router.publisher.plan.version != first.version


def test_a_rotated_secret_is_a_version_and_no_plan() -> None:
    router, node = running()
    version, plan = router.publisher.version, router.publisher.plan
    router.vault.values["LAB_KEY"] = "sk-rotated"
    router.administrator.reread_credentials()
    assert router.publisher.version is not None
    assert version is not None
    assert router.publisher.version.number == version.number + 1
    assert [value.reveal() for value in router.publisher.version.secrets.values()] == ["sk-rotated"]
    acknowledge(router, node)
    assert router.publisher.plan == plan


def test_no_version_reveals_anything_of_a_secret() -> None:
    one, other = Router(LAB_KEY="sk-one"), Router(LAB_KEY="sk-two")
    for router in (one, other):
        apply(router, OLD)
    assert one.publisher.version is not None
    assert other.publisher.version is not None
    assert one.publisher.version.snapshot.version == other.publisher.version.snapshot.version


def test_after_a_restart_clusters_that_were_retiring_are_still_there() -> None:
    router, node = running()
    apply(router, NEW)
    acknowledge(router, node)
    again = Router(router.engine)
    assert again.clusters == ["new.gemini", "old.gemini"]
    assert again.publisher.version is not None
    assert len(again.publisher.version.secrets) == 2
    acknowledge(again, again.publisher.connect_node(EPOCH))
    take(again)
    again.clock.advance(1_000)
    again.publisher.tick()
    assert again.clusters == ["new.gemini"]


def test_a_provider_that_takes_no_credential_needs_none() -> None:
    router = Router()
    provider = lab()
    free = type(provider)(
        "free", SecretReference(SecretSource.NONE), protocol=provider.protocol, base_url=provider.base_url
    )
    apply(router, ([free], [model("m", "free/x")]))
    assert router.clusters == ["free.gemini"]
    assert router.publisher.version is not None
    assert router.publisher.version.secrets == {}
