"""What a process has to do, and when: its own generations, and those of dead processes."""

from collections.abc import Collection, Sequence
from itertools import islice

from meigen_mcp.database import Database
from meigen_mcp.generation import Generation, Status
from meigen_mcp.rows import generation

ADOPTABLE_FOR = 600.0
"""Seconds for which a call that never got its answer can be repeated as the same one."""


class Agenda:
    """What the poller asks.

    Every method may raise `LedgerUnavailable`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(
        self,
        account: str,
        now: float,
        statuses: Sequence[Status],
        but: Collection[str],
        limit: int,
    ) -> list[Generation]:
        """Return this process's generations whose time has come, the longest due first.

        Args:
            account: whose generations.
            now: the time.
            statuses: only those in one of these.
            but: the request ids of those that are being acted on.
            limit: how many at the most.
        """
        marks = ", ".join("?" * len(statuses))
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT * FROM generations INDEXED BY by_turn WHERE owner = ? AND status IN ({marks})"  # noqa: S608, E501  # only marks
                " AND next_look <= ? AND account = ? ORDER BY next_look, id LIMIT ?",
                (self._database.owner, *statuses, now, account, limit + len(but)),
            ).fetchall()
        free = (row for row in rows if row["request_id"] not in but)
        return [generation(row) for row in islice(free, limit)]

    def next_due(self, account: str, after: float = 0.0) -> float | None:
        """Return when this process next has something to do after a time."""
        with self._database.reading() as db:
            (when,) = db.execute(
                "SELECT min(next_look) FROM generations WHERE owner = ? AND next_look > ?"
                " AND account = ?",
                (self._database.owner, after, account),
            ).fetchone()
        return None if when is None else float(when)

    def unfinished_before(self, job: Generation, now: float) -> int:
        """Return how many that completed before it the same process saves or shows just now."""
        with self._database.reading() as db:
            (count,) = db.execute(
                "SELECT count(*) FROM generations WHERE owner = (SELECT owner FROM generations"
                " WHERE account = ? AND request_id = ?) AND status = 'completed'"
                " AND next_look <= ? AND account = ? AND finished_at < ?",
                (job.account, job.request_id, now, job.account, job.finished_at),
            ).fetchone()
        return int(count)

    def take_over(self, account: str, now: float) -> int:
        """Become the owner of the generations of dead processes; return how many there were.

        A call that died with its process before its answer leaves an orphan to adopt.
        """
        me = self._database.owner
        with self._database.reading() as db:
            owners = [
                row[0]
                for row in db.execute(
                    "SELECT owner FROM generations INDEXED BY by_due WHERE next_look IS NOT NULL"
                    " AND account = ? AND owner <> ?"
                    " UNION SELECT owner FROM generations INDEXED BY by_time WHERE created_at > ?"
                    " AND answered = 0 AND abandoned = 0 AND account = ? AND owner <> ?",
                    (account, me, now - ADOPTABLE_FOR, account, me),
                )
            ]
        taken = 0
        for owner in owners:
            lock = self._database.dead(owner)
            if lock is None:
                continue
            with self._database.writing() as db:
                # Each by its index; the others are old and at rest, and no matter whose they are.
                for name, least in (("next_look", 0.0), ("created_at", now - ADOPTABLE_FOR)):
                    taken += db.execute(
                        "UPDATE generations SET owner = ?,"  # noqa: S608  # our own names
                        " abandoned = max(abandoned, 1 - answered),"
                        " next_look = CASE WHEN status = 'submitting' THEN ? ELSE next_look END"
                        f" WHERE owner = ? AND +account = ? AND {name} > ?",
                        (me, now, owner, account, least),
                    ).rowcount
            lock.release()
        return taken
