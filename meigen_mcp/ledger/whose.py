"""Whose of those is meant that go by one id, which two people may both have chosen."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from meigen_mcp.errors import MeigenError
from meigen_mcp.people import person_of
from meigen_mcp.wording import listed

NOBODY = "nobody"
"""What a command calls those who did not sign in, among people who did."""


class Owned(Protocol):
    """What is somebody's: a record, or an offer."""

    @property
    def account(self) -> str:
        """Whose it is."""
        ...


T = TypeVar("T", bound=Owned)


class SeveralPeople(MeigenError):
    """Several people's calls go by one id, and what is to be done is for one of them.

    Attributes:
        people: who.
    """

    code = "several_people"

    def __init__(self, request_id: str, people: Sequence[str]) -> None:
        self.people = tuple(people)
        names = listed([person or f"{NOBODY} (who did not sign in)" for person in people], "and")
        super().__init__(
            f"Under {request_id} there are the calls of several people: {names}. Say whose is"
            " meant, with --person. Nothing was sent or charged."
        )


def meant(request_id: str, found: Sequence[T], person: str | None) -> T | None:
    """Return which of those that go by an id is meant: the first of a person's.

    Raises:
        SeveralPeople: that cannot be known.
    """
    theirs = [one for one in found if person is None or person_of(one.account) == person]
    people = dict.fromkeys(person_of(one.account) for one in theirs)
    if len(people) > 1:  # else whoever knows another's id would be given what was theirs
        raise SeveralPeople(request_id, tuple(people))
    return theirs[0] if theirs else None
