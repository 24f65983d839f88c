"""Calls that wait for the person's yes."""

import sqlite3
from dataclasses import fields, replace

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.columns import read_quote, write
from meigen_mcp.ledger.offers import MOST_OFFERS, OFFERED_FOR, Event, Offer, ended
from meigen_mcp.ledger.sqlite.accounts import SqliteAccounts
from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.ledger.whose import meant

_COLUMNS = tuple(field.name for field in fields(Offer))
_READ = f"SELECT {', '.join(_COLUMNS)} FROM offers WHERE quote IS NOT NULL AND "  # noqa: S608  # our own names
_WRITE = f"REPLACE INTO offers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # our own names
_STANDING = "made_at > :now - :offered_for AND made_at <= :now"  # one of the future is void


class SqliteOffers:
    """The offers of an account; see `Offers`."""

    def __init__(self, accounts: SqliteAccounts, worker: Worker) -> None:
        self._accounts = accounts
        self._worker = worker

    async def note(self, offer: Offer, event: Event) -> Offer:
        """Keep what happened to an offer, or to a new one, and return it as it is then."""

        def keep(db: sqlite3.Connection) -> Offer:
            account = self._accounts.name
            db.execute("DELETE FROM offers WHERE made_at <= ?", (offer.made_at - OFFERED_FOR,))
            row = db.execute(
                f"{_READ} account = ? AND request_id = ?", (account, offer.request_id)
            ).fetchone()
            kept = replace(offer, account=account) if row is None else _read(row)
            if (kept.made_at, kept.quote) != (offer.made_at, offer.quote):
                kept = replace(offer, account=account)
            written = _write(db, kept.after(event))
            db.execute(
                "DELETE FROM offers WHERE account = ? AND rowid NOT IN (SELECT rowid FROM offers"
                " WHERE account = ? ORDER BY approved_at IS NULL, made_at DESC LIMIT ?)",
                (account, account, MOST_OFFERS),
            )
            return written

        return await self._worker.write(keep)

    async def standing(self, request_id: str, now: float) -> list[Offer]:
        """Return all that stand under an id, the newest first."""
        return await self._worker.read(lambda db: _standing(db, request_id, now))

    async def approve(self, request_id: str, now: float, person: str | None = None) -> Offer | None:
        """Note the yes to the newest standing offer with an id."""

        def keep(db: sqlite3.Connection) -> Offer | None:
            offer = meant(request_id, _standing(db, request_id, now), person)
            return offer and _write(db, replace(offer, approved_at=now))

        return await self._worker.write(keep)

    async def forget(self, made_before: float) -> None:
        """Take out what was offered before a time."""
        person = self._accounts.person or None
        await self._worker.write(
            lambda db: db.execute(
                "DELETE FROM offers WHERE made_at < ? AND (? IS NULL OR instr(account, '#') > 0"
                " AND substr(account, instr(account, '#') + 1) = ?)",
                (made_before, person, person),
            )
        )


def _standing(db: sqlite3.Connection, request_id: str, now: float) -> list[Offer]:
    found = db.execute(
        f"{_READ} request_id = :request_id AND {_STANDING} ORDER BY made_at DESC",
        _of("", request_id, now),
    ).fetchall()
    return [_read(row) for row in found]


def find_offer(db: sqlite3.Connection, account: str, request_id: str, now: float) -> Offer | None:
    """Return the offer with this id, if it stands."""
    row = db.execute(
        f"{_READ} account = :account AND request_id = :request_id AND {_STANDING}",
        _of(account, request_id, now),
    ).fetchone()
    return None if row is None else _read(row)


def use_offer(db: sqlite3.Connection, account: str, job: Generation, *, needed: bool) -> None:
    """Use up the offer of an intent, within the transaction that adds it.

    Raises:
        ApprovalEnded: it is needed, and has ended or was used.
    """
    used = db.execute(
        f"DELETE FROM offers WHERE account = :account AND request_id = :request_id AND {_STANDING}",  # noqa: S608  # our own
        _of(account, job.request_id, job.created_at),
    )
    if needed and not used.rowcount:
        raise ended(job.request_id)


def _read(row: sqlite3.Row) -> Offer:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["quote"] = read_quote(values["quote"])
    values["declined"] = bool(values["declined"])
    return Offer(**values)


def _write(db: sqlite3.Connection, offer: Offer) -> Offer:
    db.execute(_WRITE, [write(getattr(offer, name)) for name in _COLUMNS])
    return offer


def _of(account: str, request_id: str, now: float) -> dict[str, str | float]:
    names = {"account": account, "request_id": request_id}
    return {**names, "now": now, "offered_for": OFFERED_FOR}
