from __future__ import annotations

from services.kernel.dialect import Dialect
from services.kernel.errors import Unavailable
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.key import PREFIX
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.usecases.authenticate import Authenticate, AuthenticatedKey, ListModels
from services.quota.usecases.live import Live
from tests.worlds.quota import ADAS_KEY, PEPPER, SECRET, World, spend


def test_a_key_sees_the_models_that_its_clients_can_call() -> None:
    world = World((spend("empty", 0),))
    listing = ListModels(world.authenticate)

    assert listing(SECRET, Dialect.OPENAI) == ("chained", "dear", "tiered", "unpriced")
    assert listing(SECRET, Dialect.ANTHROPIC) == ("claude",)

    world.change_key(models=("dear", "not-in-the-plan"))
    assert listing(SECRET, Dialect.OPENAI) == ("dear",)
    assert listing(SECRET, Dialect.ANTHROPIC) == ()


def test_one_model_is_found_by_any_name_that_reaches_it() -> None:
    world = World()
    listing = ListModels(world.authenticate)

    assert listing.one(SECRET, "dear-2024-08-06", Dialect.OPENAI) == "dear"
    assert listing.one(SECRET, "claude", Dialect.OPENAI) == Deny(Denial.MODEL_NOT_FOUND, model="claude")
    world.change_key(models=("tiered",))
    assert listing.one(SECRET, "dear-latest", Dialect.OPENAI) == Deny(Denial.MODEL_NOT_FOUND, model="dear-latest")


def test_without_a_key_no_model_is_seen() -> None:
    world = World()

    assert ListModels(world.authenticate)("", Dialect.OPENAI) == Deny(Denial.MISSING_KEY)


class Elsewhere:
    """A directory that another process changes."""

    def __init__(self) -> None:
        self.live = Live(Directory())
        self.directory = Directory("acme", (), (), (ADAS_KEY,))
        self.looks = 0
        self.authenticate = Authenticate(self.live, World().clock, PEPPER, self.look_again)

    def look_again(self) -> None:
        self.looks += 1
        self.live.set_directory(self.directory)


def test_a_key_that_was_just_made_elsewhere_opens_at_once_and_within_the_picture_that_knows_it() -> None:
    elsewhere = Elsewhere()

    opened = elsewhere.authenticate(SECRET)

    assert opened == AuthenticatedKey(ADAS_KEY, elsewhere.live.snapshot)
    assert elsewhere.live.snapshot.directory.directory == elsewhere.directory


def test_nobody_is_asked_about_a_key_that_is_known_missing_or_visibly_mistyped() -> None:
    elsewhere = Elsewhere()
    elsewhere.look_again()

    for credential in (SECRET, "", f"{PREFIX}cut-off"):
        elsewhere.authenticate(credential)

    assert elsewhere.looks == 1
    assert elsewhere.authenticate("never-made") == Deny(Denial.INVALID_KEY)
    assert elsewhere.looks == 2


def test_a_key_is_not_called_unknown_while_nobody_can_be_asked() -> None:
    def away() -> None:
        raise Unavailable("the directory cannot be read")

    world = World()
    authenticate = Authenticate(world.live, world.clock, PEPPER, away)

    assert authenticate("made-elsewhere") == Deny.unavailable("the directory cannot be read")
    assert isinstance(authenticate(SECRET), AuthenticatedKey)
