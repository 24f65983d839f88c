"""The people who sign in, and what each may spend."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from meigen_mcp.ledger.spending import DAY, MONTH
from meigen_mcp.ledger.sqlite.spending import spent
from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.ledger.team import Allowance, Caps, Member, limits

_PERSON = "instr(account, '#') > 0 AND substr(account, instr(account, '#') + 1) = ?"


class SqliteTeam:
    """The people of a ledger; see `Team`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def meet(self, member: Member) -> None:
        """Note who a person is."""

        def put(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO people VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                (member.id, member.issuer, member.subject, member.name, member.seen_at),
            )

        await self._worker.write(put)

    async def members(self, now: float) -> Sequence[Member]:
        """Return everybody, with what they may spend and did, the earliest first."""

        def query(db: sqlite3.Connection) -> list[Member]:
            found = _caps(db)
            return [
                replace(
                    Member(*row),
                    caps=found.get(row[0], Caps()),
                    spent_today=spent(db, now - DAY, row[0]),
                    spent_month=spent(db, now - MONTH, row[0]),
                    made=_made(db, row[0]),
                )
                for row in db.execute(
                    "SELECT id, issuer, subject, name, seen_at FROM people ORDER BY seen_at, id"
                ).fetchall()
            ]

        return await self._worker.read(query)

    async def caps(self) -> Mapping[str, Caps]:
        """Return what is set, by person."""
        return await self._worker.read(_caps)

    async def set_caps(self, who: str, caps: Caps) -> None:
        """Set the caps of a person, of each or of the team."""

        def put(db: sqlite3.Connection) -> None:
            day, month = (None if cap is None else str(cap) for cap in (caps.day, caps.month))
            db.execute("REPLACE INTO caps VALUES (?, ?, ?)", (who, day, month))

        await self._worker.write(put)

    async def forget(self, person: str) -> None:
        """Forget who a person was, and their offers."""

        def take_out(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM people WHERE id = ?", (person,))
            db.execute(f"DELETE FROM offers WHERE {_PERSON}", (person,))  # noqa: S608  # our own

        await self._worker.write(take_out)


def allowances(db: sqlite3.Connection, person: str | None, now: float) -> tuple[Allowance, ...]:
    """Return the caps that hold for a person's call, and what of each is used."""
    found = _caps(db)
    if not found:
        return ()
    own, team = limits(person, found)
    return tuple(
        Allowance(whose, days, cap, spent(db, now - days * DAY, who))
        for whose, caps, who in (("your", own, person), ("the team's", team, None))
        for days, cap in ((1, caps.day), (30, caps.month))
        if cap is not None
    )


def _caps(db: sqlite3.Connection) -> Mapping[str, Caps]:
    return {
        who: Caps(*(None if cap is None else Decimal(cap) for cap in (day, month)))
        for who, day, month in db.execute("SELECT who, day, month FROM caps").fetchall()
    }


def _made(db: sqlite3.Connection, person: str) -> int:
    statement = f"SELECT count(*) FROM generations WHERE {_PERSON}"  # noqa: S608  # our own
    return int(db.execute(statement, (person,)).fetchone()[0])
