from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.kernel.errors import InvalidInput
from services.router.adapters.envoy_resources_routes import data_routes
from services.router.domain.configuration import check_configuration, differences
from services.router.domain.listener import MAX_ORIGINS, Listener
from services.router.domain.snapshot import NodeSettings

NODE = NodeSettings("epoch", "127.0.0.1", 1, "127.0.0.1", 2, "/spool", "/logs")
PAGE = "https://app.example.com"


def listener(*origins: str, name: str = "data") -> Listener:
    return Listener(name, origins)


@pytest.mark.parametrize(
    ("wrong", "field", "text"),
    [
        ([listener(PAGE, name="dta")], "listeners[0].name", "did you mean 'data'"),
        ([listener(PAGE, name="admin")], "listeners[0].name", "there is no listener 'admin'"),
        ([listener(PAGE, "*")], "listeners[0].cors.origins[1]", "every web page"),
        ([listener(f"{PAGE}/")], "listeners[0].cors.origins[0]", f"did you mean '{PAGE}'"),
        ([listener(PAGE, PAGE)], "listeners[0].cors.origins[1]", "listed twice"),
        ([listener(PAGE), listener(PAGE)], "listeners[1].name", "there already"),
        (
            [listener(*(f"https://p{at}.example.com" for at in range(MAX_ORIGINS + 1)))],
            "listeners[0].cors.origins",
            "too many",
        ),
    ],
)
def test_wrong_listeners_are_refused_by_the_path_of_their_field(
    wrong: Sequence[Listener], field: str, text: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_configuration([], [], wrong)
    assert (caught.value.field, text in caught.value.problem) == (field, True), caught.value.problem


def test_a_new_origin_is_a_change_of_its_listener() -> None:
    before, after = (check_configuration([], [], [listener(*each)]) for each in ((), (PAGE,)))

    assert [(str(each.action), str(each.kind), each.name) for each in differences(before, after)] == [
        ("update", "listener", "data")
    ]


def test_without_origins_no_route_speaks_of_web_pages() -> None:
    assert "cors" not in str(data_routes(NODE))
    assert "access-control" not in str(data_routes(NODE))
    assert "access-control" in str(data_routes(NODE, (PAGE,)))
