from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from spendgate.router.v1.router_service_pb2 import ListAuditEntriesRequest
from spendgate.type.v1.audit_pb2 import AuditEntry
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_MODEL, RESOURCE_KIND_PROVIDER

from services.kernel.change import OWNER, Actor, Authorship
from services.kernel.errors import FailedPrecondition, InvalidInput
from services.router.domain.configuration import EMPTY
from services.router.domain.plan import ClusterNames
from services.router.domain.provider import Provider, faces_of
from services.router.domain.secret import CredentialProblem, SecretReference, SecretValue
from services.router.usecases import administer
from tests.worlds.repetitions import again, asked
from tests.worlds.router import Router, lab, model

EPOCH = "local-1795464000000"


def test_applying_twice_changes_nothing() -> None:
    router = Router()
    first = router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
    second = router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
    assert [(change.kind, change.name) for change in first.changes] == [("provider", "lab"), ("model", "m")]
    assert second.changes == ()


def test_a_repeated_request_gets_its_answer_and_is_not_applied_over_a_newer_one() -> None:
    router, by = Router(), asked()
    first = router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=by)
    router.administrator.apply([lab()], [model("newer", "lab/x")], validate_only=False, by=asked())

    survivor = Router(router.engine)
    repeated = survivor.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=again(by))

    assert repeated == first
    assert [one.name for one in survivor.administrator.configuration.models] == ["newer"]
    assert len(survivor.audit.page(ListAuditEntriesRequest()).audit_entries) == 4


def test_a_request_that_changed_nothing_and_one_that_only_asked_are_told_apart() -> None:
    router, nothing, trial = Router(), asked(), asked()
    router.administrator.apply([lab()], [], validate_only=True, by=trial)
    router.administrator.apply([lab()], [], validate_only=False, by=OWNER)
    router.administrator.apply([lab()], [], validate_only=False, by=nothing)
    router.administrator.apply([], [], validate_only=False, by=OWNER)

    assert router.administrator.apply([lab()], [], validate_only=False, by=again(nothing)).changes == ()
    assert router.administrator.configuration == EMPTY
    assert router.administrator.apply([lab()], [], validate_only=False, by=again(trial)).changes != ()


def test_an_id_of_another_request_is_refused() -> None:
    router, by = Router(), asked(content="one")
    router.administrator.apply([lab()], [], validate_only=False, by=by)
    assert by.repeatable is not None

    with pytest.raises(InvalidInput, match="belongs to another request"):
        router.administrator.apply([], [], validate_only=False, by=asked(request_id=by.repeatable.id, content="other"))


def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    router = Router()
    applied = router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=True, by=OWNER)
    assert len(applied.changes) == 2
    assert router.administrator.configuration == EMPTY
    assert router.store.load() == EMPTY
    assert router.clusters == []


def test_what_is_refused_leaves_everything_as_it_was() -> None:
    router = Router()
    router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
    before = router.administrator.configuration
    with pytest.raises(InvalidInput):
        router.administrator.apply([lab()], [model("m", "nobody/x")], validate_only=False, by=OWNER)
    assert router.administrator.configuration == before == router.store.load()


def test_a_missing_credential_is_a_warning_and_its_targets_are_left_out() -> None:
    router = Router()
    providers = [lab("good"), lab("bad", key="ABSENT")]
    models = [model("m", "bad/x", "good/x"), model("gone", "bad/x")]
    applied = router.administrator.apply(providers, models, validate_only=False, by=OWNER)
    assert [warning.partition(";")[0] for warning in applied.warnings] == [
        "provider bad: environment variable ABSENT is not set",
        "model gone: none of its targets can be used, so its calls are answered with status 503",
    ]
    assert router.clusters == ["good.gemini"]
    problems = {one.name: router.administrator.credential_problem(one) for one in providers}
    assert problems == {"good": "", "bad": "environment variable ABSENT is not set"}


def test_a_credential_that_turns_up_later_is_taken_up() -> None:
    router = Router()
    router.administrator.apply([lab(key="LATE")], [model("m", "lab/x")], validate_only=False, by=OWNER)
    assert router.clusters == []
    router.vault.values["LATE"] = "sk-late"
    router.administrator.reread_credentials()
    assert router.clusters == ["lab.gemini"]
    assert router.administrator.credential_problem(lab(key="LATE")) == ""


def test_a_credential_that_is_being_replaced_stays_in_force_and_the_problem_is_shown() -> None:
    router = Router()
    router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
    version = router.publisher.version
    del router.vault.values["LAB_KEY"]
    router.administrator.reread_credentials()
    assert router.publisher.version == version
    assert "LAB_KEY" in router.administrator.credential_problem(lab())


def test_a_reference_that_leads_astray_is_refused_with_its_field() -> None:
    router = Router()

    def astray(reference: SecretReference) -> SecretValue | CredentialProblem:
        return CredentialProblem(f"{reference} leads out of the folder", forbidden=True)

    router.vault.read = astray  # type: ignore[method-assign]
    with pytest.raises(InvalidInput) as caught:
        router.administrator.apply([lab()], [], validate_only=False, by=OWNER)
    assert caught.value.field == "providers[0].api_key.env"


def test_after_a_restart_the_stored_configuration_is_published() -> None:
    router = Router()
    router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
    again = Router(router.engine)
    assert again.administrator.configuration == router.administrator.configuration
    node = again.publisher.connect_node(EPOCH)
    assert again.publisher.version is not None
    again.publisher.acknowledged(node, again.publisher.version)
    assert again.planned == {"lab.gemini"}


def test_what_was_changed_is_in_the_audit_log_and_credentials_are_only_named() -> None:
    router = Router()
    by = Authorship(Actor("root", "platform"), "a new lab", "req-1")
    router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=by)
    router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=by)
    router.administrator.apply([lab()], [], validate_only=True, by=by)
    router.administrator.apply([lab(key="OTHER_KEY")], [], validate_only=False, by=by)

    log = router.audit.page(ListAuditEntriesRequest()).audit_entries

    assert [(entry.action, entry.kind, entry.name) for entry in reversed(log)] == [
        (AuditEntry.ACTION_CREATE, RESOURCE_KIND_PROVIDER, "lab"),
        (AuditEntry.ACTION_CREATE, RESOURCE_KIND_MODEL, "m"),
        (AuditEntry.ACTION_UPDATE, RESOURCE_KIND_PROVIDER, "lab"),
        (AuditEntry.ACTION_DELETE, RESOURCE_KIND_MODEL, "m"),
    ]
    assert {(entry.actor, entry.reason, entry.request_id) for entry in log} == {("root", "a new lab", "req-1")}
    changed = log[1]
    assert (json.loads(changed.before)["api_key"]["name"], json.loads(changed.after)["api_key"]["name"]) == (
        "LAB_KEY",
        "OTHER_KEY",
    )
    assert (bool(log[0].before), log[0].after) == (True, "")
    assert "sk-" not in "".join(entry.before + entry.after for entry in log)


def test_what_does_not_fit_together_is_refused_before_anything_is_stored_or_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = Router()
    version, plan = router.publisher.version, router.publisher.plan

    def one_name_for_all(providers: Iterable[Provider], _in_use: object) -> ClusterNames:
        return {(provider.name, face.dialect): "lab.gemini" for provider in providers for face in faces_of(provider)}

    monkeypatch.setattr(administer, "name_clusters", one_name_for_all)
    with pytest.raises(FailedPrecondition, match="belongs to no cluster"):
        router.administrator.apply(
            [lab("a"), lab("b", "http://127.0.0.1:2/v1")], [model("m", "a/x")], validate_only=False, by=OWNER
        )
    assert router.store.load() == EMPTY
    assert (router.publisher.version, router.publisher.plan) == (version, plan)
