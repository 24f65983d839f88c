"""What of an owner is due: names by one statement, and whole records of those that are begun."""

from collections.abc import Collection, Mapping
from typing import Any

from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.queue import Due, Kind, Wanted
from meigen_mcp.people import key_in

_NEXT = (
    "SELECT NULL::text AS kind, NULL::bigint AS id, NULL::text AS account,"
    " NULL::text AS request_id, min(next_look) AS next_look"
    " FROM meigen.generations WHERE owner = %s AND next_look > %s"
)
_OF_KIND = (
    "(SELECT %s::text, id, account, request_id, next_look FROM meigen.generations"
    " WHERE owner = %s AND status = ANY(%s) AND next_look <= %s"
    " ORDER BY next_look, id LIMIT %s)"
)
_READ = (
    "SELECT * FROM meigen.generations WHERE id = ANY(%s) AND owner = %s AND next_look <= %s"
    " ORDER BY next_look, id"
)


async def find_due(
    db: Connection, owner: str, now: float, wanted: Mapping[Kind, Wanted], but: Collection[str]
) -> Due:
    """Return an owner's generations whose time has come, as `Queue.due` does."""
    parts, values = [_NEXT], [owner, now]
    for kind, of_kind in wanted.items():
        if of_kind.places > 0:
            parts.append(_OF_KIND)
            most = of_kind.places + len(but)
            values += [kind, owner, list(of_kind.statuses), now, most]
    found = await rows.every(db, " UNION ALL ".join(parts), values)
    next_at = next(row["next_look"] for row in found if row["kind"] is None)
    begun = _begun(found, wanted, but)
    if not begun:
        return Due(next_at=next_at)
    # Many are told that are noted a little later: no whole record is read of those.
    read = await rows.every(db, _READ, (list(begun), owner, now))
    jobs = [(begun[row["id"]], rows.read(row)) for row in read]
    return Due(
        [
            (kind, job)
            for kind, of_kind in wanted.items()
            for found_as, job in jobs
            # What changed since it was found is found anew, as what it is now.
            if found_as == kind and job.status in of_kind.statuses
        ],
        next_at,
    )


def _begun(
    found: list[dict[str, Any]], wanted: Mapping[Kind, Wanted], but: Collection[str]
) -> dict[int, Kind]:
    """Return which are begun, as many of each kind as are wanted."""
    left = {kind: of_kind.places for kind, of_kind in wanted.items()}
    begun: dict[int, Kind] = {}
    for row in found:
        kind = row["kind"]
        if kind is None or left[kind] == 0:
            continue
        if key_in(row["account"], row["request_id"]) not in but:
            left[kind] -= 1
            begun[row["id"]] = kind
    return begun
