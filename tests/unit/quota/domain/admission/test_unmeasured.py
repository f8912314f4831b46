"""The estimate for a call that no provider measured, as far as it is known at admission."""

from __future__ import annotations

from services.kernel.usage import MICRO, Line
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.admission.unmeasured import NOTHING_TAUGHT, Guide, Taught, taught_by_text, unmeasured_tokens
from services.quota.domain.routing.target_facts import TargetFacts

TARGET = TargetFacts(output_ceiling=4_096, context_window=200_000, image_tokens=10_000, price=None)
SHORT = UsageSample("key", "model", Tokens(234, 50), text_bytes=1_000, answer_text_bytes=200)


def after(*samples: UsageSample) -> Taught:
    taught = NOTHING_TAUGHT
    for sample in samples:
        taught = taught.after(sample)
    return taught


def tokens_of(facts: RequestFacts, own: Taught | None = None, everybody: Taught | None = None) -> Tokens:
    return unmeasured_tokens(facts, TARGET, Guide.of(own, everybody))


def test_before_anything_is_learned_a_call_is_booked_at_its_bound() -> None:
    assert tokens_of(RequestFacts(5_000, max_output_tokens=100)) == Tokens(5_000, 100)


def test_the_input_follows_from_the_size_of_this_call_and_not_from_that_of_those_before() -> None:
    short = after(*[SHORT] * 20)

    assert tokens_of(RequestFacts(1_000), short) == Tokens(234, 50)
    assert tokens_of(RequestFacts(500_000), short) == Tokens(124_984, 50)


def test_a_new_key_goes_by_what_all_keys_taught_of_the_model() -> None:
    assert tokens_of(RequestFacts(1_000), None, after(*[SHORT] * 20)) == Tokens(234, 50)


def test_a_key_goes_by_its_own_calls_once_it_has_some() -> None:
    dense = UsageSample("key", "model", Tokens(700, 9), text_bytes=1_000)

    guide = Guide.of(after(dense), after(*[SHORT] * 20))

    assert unmeasured_tokens(RequestFacts(1_000), TARGET, guide) == Tokens(700, 9)
    # It never streamed, so the other keys know more about the text of answers.
    assert guide.answer == Line(0, MICRO // 4)


def test_no_estimate_is_above_its_bound() -> None:
    most = UsageSample("key", "model", Tokens(900, 9_000), text_bytes=1_000)

    assert tokens_of(RequestFacts(1_000, max_output_tokens=70), after(most)) == Tokens(900, 70)
    assert tokens_of(RequestFacts(10_000_000), after(*[SHORT] * 4)).input == 200_000


def test_images_are_booked_at_their_bound_and_their_data_is_no_text() -> None:
    facts = RequestFacts(501_000, data_uri_bytes=500_000, images=2, features=frozenset({"images"}))

    assert tokens_of(facts, after(*[SHORT] * 20)).input == 20_234


def test_input_that_is_fetched_is_booked_at_the_context_window() -> None:
    assert tokens_of(RequestFacts(1_000, features=frozenset({"files"})), after(*[SHORT] * 20)).input == 200_000


def test_only_calls_whose_input_is_all_text_teach_what_text_takes() -> None:
    assert taught_by_text(RequestFacts(1_000, features=frozenset({"tools"}))) == 1_000
    for other in (
        RequestFacts(1_000, images=1),
        RequestFacts(1_000, audio_bytes=10),
        RequestFacts(1_000, features=frozenset({"stored_input"})),
    ):
        assert taught_by_text(other) == 0
    assert after(UsageSample("key", "model", Tokens(9_000, 50))).request == NOTHING_TAUGHT.request


def test_a_request_with_members_that_nobody_knows_teaches_nothing_and_is_booked_at_its_bound() -> None:
    facts = RequestFacts(1_000, unknown_members=("n_predict",))

    assert taught_by_text(facts) == 0
    assert tokens_of(facts, after(*[SHORT] * 20)).input == 200_000
