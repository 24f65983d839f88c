"""Calls that wait for the person's yes."""

from dataclasses import fields, replace

from psycopg.rows import DictRow

from meigen_mcp.ledger.columns import read_quote, write
from meigen_mcp.ledger.offers import MOST_OFFERS, OFFERED_FOR, Event, Offer
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.accounts import PostgresAccounts
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.whose import meant

_COLUMNS = tuple(field.name for field in fields(Offer))
_READ = f"SELECT {', '.join(_COLUMNS)} FROM meigen.offers WHERE "  # noqa: S608  # our own names
_WRITE = (
    f"INSERT INTO meigen.offers ({', '.join(_COLUMNS)})"  # noqa: S608  # our own names
    f" VALUES ({', '.join(['%s'] * len(_COLUMNS))}) ON CONFLICT (account, request_id)"
    f" DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)
_STANDING = "made_at > %s AND made_at <= %s"  # one of the future is void


class PostgresOffers:
    """The offers of an account; see `Offers`."""

    def __init__(self, database: Database, accounts: PostgresAccounts) -> None:
        self._database = database
        self._accounts = accounts

    async def note(self, offer: Offer, event: Event) -> Offer:
        """Keep what happened to an offer, or to a new one, and return it as it is then."""

        async def keep(db: Connection) -> Offer:
            account = self._accounts.name
            # One at a time: two that begin anew would both be the first.
            await db.execute(b"SELECT FROM meigen.teams WHERE id = '' FOR UPDATE")
            await db.execute(
                b"DELETE FROM meigen.offers WHERE made_at <= %s", (offer.made_at - OFFERED_FOR,)
            )
            found = await rows.every(
                db, f"{_READ} account = %s AND request_id = %s", (account, offer.request_id)
            )
            kept = _read(found[0]) if found else replace(offer, account=account)
            if (kept.made_at, kept.quote) != (offer.made_at, offer.quote):
                kept = replace(offer, account=account)
            written = await _write(db, kept.after(event))
            await db.execute(
                b"DELETE FROM meigen.offers WHERE (account, request_id) IN (SELECT account,"
                b" request_id FROM meigen.offers WHERE account = %s"
                b" ORDER BY approved_at IS NULL, made_at DESC OFFSET %s)",
                (account, MOST_OFFERS),
            )
            return written

        return await self._database.write(keep)

    async def standing(self, request_id: str, now: float) -> list[Offer]:
        """Return all that stand under an id, the newest first."""
        return await self._database.read(lambda db: _standing(db, request_id, now))

    async def approve(self, request_id: str, now: float, person: str | None = None) -> Offer | None:
        """Note the yes to the newest standing offer with an id."""

        async def keep(db: Connection) -> Offer | None:
            found = await _standing(db, request_id, now, "FOR UPDATE")
            offer = meant(request_id, found, person)
            return offer and await _write(db, replace(offer, approved_at=now))

        return await self._database.write(keep)

    async def forget(self, made_before: float) -> None:
        """Take out what was offered before a time."""
        person = self._accounts.person

        async def take_out(db: Connection) -> None:
            await db.execute(
                b"DELETE FROM meigen.offers WHERE made_at < %s"
                + (rows.OF_PERSON.encode() if person else b""),
                (made_before, *([person] if person else [])),
            )

        await self._database.write(take_out)


async def _standing(db: Connection, request_id: str, now: float, lock: str = "") -> list[Offer]:
    found = await rows.every(
        db,
        f"{_READ} request_id = %s AND {_STANDING} ORDER BY made_at DESC {lock}",
        (request_id, now - OFFERED_FOR, now),
    )
    return [_read(row) for row in found]


async def find_offer(db: Connection, account: str, request_id: str, now: float) -> Offer | None:
    """Return the offer with this id, if it stands."""
    found = await rows.every(
        db,
        f"{_READ} account = %s AND request_id = %s AND {_STANDING}",
        (account, request_id, now - OFFERED_FOR, now),
    )
    return _read(found[0]) if found else None


def _read(row: DictRow) -> Offer:
    return Offer(**row | {"quote": read_quote(row["quote"])})


async def _write(db: Connection, offer: Offer) -> Offer:
    await db.execute(_WRITE.encode(), [write(getattr(offer, name)) for name in _COLUMNS])
    return offer
