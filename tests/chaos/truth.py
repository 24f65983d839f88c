"""What really happened: the sandbox's own account beside the rows of the ledger."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import anyio

LOOK_EVERY = 0.03
WINDOW = 60.0


@dataclass(frozen=True)
class Row:
    """A row of the ledger.

    Attributes:
        amount: the credits that count against the caps.
        idle: the poller has nothing more to do with it.
    """

    request_id: str
    generation_id: str | None
    status: str
    prompt: str
    amount: Decimal
    failures: int
    idle: bool
    saved: bool
    explained: bool


@dataclass(frozen=True)
class Post:
    """A submission that the sandbox saw."""

    at: float
    status: int
    key: str | None
    job: str | None
    accepted: bool


@dataclass
class Tally:
    """What became of the jobs that met one fault.

    Attributes:
        once: the sandbox took their credits once.
        never: it took none.
        recovered: completed, and their media are on the disk.
        unknown: ended as `unknown`.
        twice: the sandbox accepted them more than once.
        lost: it accepted them, and they are neither recovered nor unknown.
        again: POSTs after one that may have been accepted.
    """

    jobs: int = 0
    once: int = 0
    never: int = 0
    recovered: int = 0
    unknown: int = 0
    twice: int = 0
    lost: int = 0
    again: int = 0

    def __iadd__(self, other: "Tally") -> Self:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    def cells(self) -> tuple[int, ...]:
        """Return the cells of a table."""
        return (self.jobs, self.once, self.never, self.recovered, self.unknown)


TALLY_HEAD = ("charged once", "never charged", "recovered", "unknown")
Sent = Mapping[str, Sequence[bytes]]
"""The bodies of the POSTs that may have been accepted, as the wire saw them, by key."""
NOTHING_SENT: Sent = MappingProxyType({})


def summed(by_api: Mapping[str, Iterable[Tally]]) -> str:
    """Return what all faults together came to, a line for each kind of API."""
    lines = []
    for name, tallies in by_api.items():
        total = Tally()
        for tally in tallies:
            total += tally
        lines.append(
            f"- {name}: {total.jobs} jobs, of these charged twice {total.twice}, charged and lost"
            f" {total.lost}; POSTs after one that may have been accepted: {total.again}"
        )
    return "\n".join(lines)


def rows(data: Path) -> list[Row]:
    """Read the ledger in a data folder, without writing to it."""
    path = data / "ledger.sqlite3"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        db.row_factory = sqlite3.Row
        try:
            found = db.execute("SELECT * FROM generations ORDER BY id").fetchall()
        except sqlite3.DatabaseError:  # no table yet, or parts of two ledgers
            return []
    return [_row(row) for row in found]


@contextmanager
def ledger_held(data: Path) -> Iterator[None]:
    """Keep everybody else from writing to the ledger."""
    with closing(sqlite3.connect(data / "ledger.sqlite3", timeout=10, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            db.execute("ROLLBACK")


def _row(row: sqlite3.Row) -> Row:
    files = json.loads(row["files"])
    return Row(
        request_id=row["request_id"],
        generation_id=row["generation_id"],
        status=row["status"],
        prompt=row["prompt"],
        amount=Decimal(row["millicredits"]) / 1000,
        failures=row["failures"],
        idle=row["next_look"] is None,
        saved=bool(files) and all(name and Path(name).stat().st_size for name in files),
        explained=row["error"] is not None,
    )


def posts(state: dict[str, Any]) -> list[Post]:
    """Read the submissions in the sandbox's own account."""
    return [
        Post(p["at"], p["status"], p["idempotencyKey"], p["generationId"], p["accepted"])
        for p in state["posts"]
    ]


def charged(state: dict[str, Any]) -> int:
    """Return the credits that the sandbox took and did not give back."""
    return sum(account["charged"] - account["refunded"] for account in state["accounts"])


def tally(row: Row, seen: Iterable[Post], sent: Sent) -> Tally:
    """Return what became of one job."""
    accepted = sum(1 for post in seen if post.key == row.request_id and post.accepted)
    recovered = row.status == "completed" and row.saved
    unknown = row.status == "unknown"
    return Tally(
        jobs=1,
        once=int(accepted == 1),
        never=int(accepted == 0),
        recovered=int(recovered),
        unknown=int(unknown),
        twice=int(accepted > 1),
        lost=int(accepted > 0 and not (recovered or unknown)),
        again=max(0, len(sent.get(row.request_id, ())) - 1),
    )


def broken(
    found: Sequence[Row], seen: Sequence[Post], sent: Sent = NOTHING_SENT, *, keys: bool = True
) -> list[str]:
    """Return which promises are broken, whatever the fault was.

    Args:
        found: the ledger.
        seen: what the sandbox saw.
        sent: what was on the wire, where somebody looked.
        keys: whether the API knows idempotency keys; without, a POST that may have been
            accepted must be the last of its job.
    """
    problems: list[str] = []
    by_id = {row.request_id: row for row in found}
    accepted = Counter(post.key for post in seen if post.accepted)
    problems += [f"charged {n} times: {key}" for key, n in accepted.items() if n > 1]
    for post in seen:
        row = by_id.get(post.key or "")
        if post.accepted and (
            row is None or (row.generation_id != post.job and row.status != "unknown")
        ):
            problems.append(f"accepted and not in the ledger: {post.key} ({row})")
    for key, bodies in sent.items():
        if len(set(bodies)) > 1:
            problems.append(f"a repetition sent other bytes: {key}")
        if not keys and len(bodies) > 1:
            problems.append(f"{len(bodies)} POSTs without keys: {key}")
    for row in found:
        if row.status == "completed" and not row.saved:
            problems.append(f"completed and not saved: {row}")
        if row.status not in ("completed", "failed", "unknown"):
            problems.append(f"not at an end: {row}")
        if row.status in ("failed", "unknown") and not row.explained:
            problems.append(f"ended without a word: {row}")
    return problems


def by_key(bodies: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Sort the bodies of submissions by their idempotency key."""
    found: dict[str, list[bytes]] = {}
    for body in bodies:
        found.setdefault(json.loads(body)["idempotencyKey"], []).append(body)
    return found


def most_in_a_window(seen: Iterable[Post]) -> int:
    """Return the most submissions that the sandbox saw in any 60 seconds."""
    times = sorted(post.at for post in seen)
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


def at_rest(found: Iterable[Row]) -> bool:
    """Say whether nothing more happens by itself."""
    return all(row.idle for row in found)


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for what other processes do; say whether it came in time."""
    with anyio.move_on_after(seconds):
        while not condition():  # noqa: ASYNC110  # another process sets no event of ours
            await anyio.sleep(LOOK_EVERY)
        return True
    return False
