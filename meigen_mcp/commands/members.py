"""Who is meant by what was typed, among the people of a server."""

from collections.abc import Collection, Sequence

from meigen_mcp.errors import NotFound
from meigen_mcp.foreign import flat
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.team import Member
from meigen_mcp.ledger.whose import NOBODY

SHORT = 8
"""Characters of a person's id that are shown; as many name them where no other begins so."""


async def find_member(ledger: Ledger, who: str) -> Member:
    """Return the one person that is meant; one who was forgotten goes by their whole id.

    Raises:
        NotFound: nobody is meant, or several people.
    """
    found = _one_of(await ledger.team.members(ledger.clock()), who)
    if found:
        return found
    if len(who) == 32 and await ledger.of(who).records.newest(1):
        return Member(who, "", "", "", 0.0, made=1)
    raise NotFound(
        f"Nobody goes by {flat(who)}: `meigen-mcp team` lists people, each by id, name or subject."
    )


async def find_among(ledger: Ledger, who: str, people: Collection[str]) -> str:
    """Return the id of the person that is meant, one of some people before all others.

    Args:
        ledger: knows who goes by which name.
        who: as in `find_member`; `NOBODY`: who did not sign in, whose id is empty.
        people: the ids of those who come first, whether or not their names are known.

    Raises:
        NotFound: nobody is meant, or several people.
    """
    if who == NOBODY:
        return ""
    known = {member.id: member for member in await ledger.team.members(ledger.clock())}
    first = [known.get(one, Member(one, "", "", "", 0.0)) for one in people if one]
    return (_one_of(first, who) or await find_member(ledger, who)).id


def _one_of(members: Sequence[Member], who: str) -> Member | None:
    exact = [m for m in members if who and who in (m.id, m.subject, m.name)]
    begun = [m for m in members if len(who) >= SHORT and m.id.startswith(who)]
    found = exact or begun
    if len(found) > 1:
        ids = ", ".join(member.id for member in found)
        raise NotFound(f"{flat(who)} is more than one person; name one by its id: {ids}.")
    return found[0] if found else None
