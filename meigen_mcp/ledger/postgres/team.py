"""The people who sign in, and what each may spend."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.spending import DAY, MONTH
from meigen_mcp.ledger.team import Allowance, Caps, Member, limits

_PERSON = "strpos(account, '#') > 0 AND split_part(account, '#', 2) = %s"


class PostgresTeam:
    """The people of a ledger; see `Team`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def meet(self, member: Member) -> None:
        """Note who a person is."""

        async def put(db: Connection) -> None:
            await db.execute(
                b"INSERT INTO meigen.people VALUES (%s, %s, %s, %s, %s)"
                b" ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                (member.id, member.issuer, member.subject, member.name, member.seen_at),
            )

        await self._database.write(put)

    async def members(self, now: float) -> Sequence[Member]:
        """Return everybody, with what they may spend and did, the earliest first."""

        async def query(db: Connection) -> list[Member]:
            caps = await caps_set(db)
            made = f"SELECT count(*) FROM meigen.generations WHERE {_PERSON}"  # noqa: S608  # ours
            return [
                Member(
                    **row,
                    caps=caps.get(row["id"], Caps()),
                    spent_today=await spent(db, now - DAY, row["id"]),
                    spent_month=await spent(db, now - MONTH, row["id"]),
                    made=await rows.one(db, made, (row["id"],)),
                )
                for row in await rows.every(
                    db,
                    "SELECT id, issuer, subject, name, seen_at FROM meigen.people"
                    " ORDER BY seen_at, id",
                )
            ]

        return await self._database.read(query)

    async def caps(self) -> Mapping[str, Caps]:
        """Return what is set, by person."""
        return await self._database.read(caps_set)

    async def set_caps(self, who: str, caps: Caps) -> None:
        """Set the caps of a person, of each or of the team."""

        async def put(db: Connection) -> None:
            await db.execute(
                b"INSERT INTO meigen.caps VALUES (%s, %s, %s)"
                b" ON CONFLICT (who) DO UPDATE SET day = excluded.day, month = excluded.month",
                (who, caps.day, caps.month),
            )

        await self._database.write(put)

    async def forget(self, person: str) -> None:
        """Forget who a person was, and their offers."""

        async def take_out(db: Connection) -> None:
            await db.execute(b"DELETE FROM meigen.people WHERE id = %s", (person,))
            offers = f"DELETE FROM meigen.offers WHERE {_PERSON}"  # noqa: S608  # ours
            await db.execute(offers.encode(), (person,))

        await self._database.write(take_out)


async def allowances(db: Connection, person: str | None, now: float) -> tuple[Allowance, ...]:
    """Return the caps that hold for a person's call, and what of each is used."""
    return await used(db, person, now, await caps_set(db))


async def used(
    db: Connection, person: str | None, now: float, caps: Mapping[str, Caps]
) -> tuple[Allowance, ...]:
    """Return the same of caps that are known, in one statement: many may wait for a lock here."""
    own, team = limits(person, caps)
    held = [
        (whose, days, cap, who)
        for whose, each, who in (("your", own, person), ("the team's", team, None))
        for days, cap in ((1, each.day), (30, each.month))
        if cap is not None
    ]
    if not held:
        return ()
    sums = ", ".join(["meigen.spent_by(%s, %s)"] * len(held))
    values = [value for _, days, _, who in held for value in (who or "", now - days * DAY)]
    spent = await rows.one(db, f"SELECT ARRAY[{sums}]", values)  # only marks
    return tuple(
        Allowance(whose, days, cap, Decimal(each) / 1000)
        for (whose, days, cap, _), each in zip(held, spent, strict=True)
    )


async def caps_set(db: Connection) -> Mapping[str, Caps]:
    """Return what is set, by person."""
    found = await rows.every(db, "SELECT who, day, month FROM meigen.caps")
    return {row["who"]: Caps(_amount(row["day"]), _amount(row["month"])) for row in found}


def _amount(value: Decimal | None) -> Decimal | None:
    return None if value is None else Decimal(value)


async def spent(db: Connection, since: float, person: str | None = None) -> Decimal:
    """Return the credits spent or reserved after a time: by a person, or over all accounts."""
    found = await rows.one(db, "SELECT meigen.spent_by(%s, %s)", (person or "", since))
    return Decimal(found) / 1000
