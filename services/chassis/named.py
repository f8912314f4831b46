"""Named resources as a caller may see them: one of them, or a page of them.

Lists and Get methods take the same selection. A resource of another team thus looks to a team admin like one that does
not exist, and its name is not suggested.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from services.chassis.paging import page_of
from services.kernel.errors import NotFound
from services.kernel.names import no_such


class Named(Protocol):
    """A resource with a name."""

    @property
    def name(self) -> str:
        """Unique among the resources of its kind."""
        ...


class PageRequest(Protocol):
    """Asks for a page of a list."""

    page_size: int
    page_token: str


Resource = TypeVar("Resource", bound=Named)


def name_of(resource: Named) -> str:
    """Returns the name by which lists are sorted."""
    return resource.name


def find_named(what: str, name: str, visible: Iterable[Resource]) -> Resource:
    """Returns the resource with this name among those that the caller may see.

    `what` says what is looked up, e.g. "virtual key".

    Raises:
        NotFound: none of them has this name; the text suggests the one that was probably meant.
    """
    by_name = {each.name: each for each in visible}
    if name not in by_name:
        raise NotFound(no_such(what, name, by_name))
    return by_name[name]


def page_of_named(visible: Sequence[Resource], request: PageRequest) -> tuple[Sequence[Resource], str]:
    """Returns a page of resources that are sorted by name, and the token of the next page.

    Raises:
        InvalidInput: the page's size or token is wrong.
    """
    return page_of(visible, name_of, page_size=request.page_size, page_token=request.page_token)
