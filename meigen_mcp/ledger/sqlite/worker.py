"""Where the ledger's statements run, so that the event loop never waits for a disk or a lock.

Whatever writes, syncs or may meet a lock runs in one thread, as tasks. Those that wait at the same
time share one transaction and so one sync, each behind a savepoint of its own; whoever is told of
what they did is told after it. Queries that only read run on the loop, on a connection of their
own that waits for nobody.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, TypeVar, cast

import anyio

from meigen_mcp.ledger.sqlite.database import BUSY_SECONDS, Database, is_busy

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

MOST_TOGETHER = 64
"""Tasks in one transaction, since others cannot write meanwhile."""
CLOSING = 0.3
"""Seconds in which what was begun may end; a thread that is stuck ends with the process."""
_GRACE = 1.0
"""Seconds beyond a task's time after which its thread counts as stuck."""


@dataclass(slots=True, eq=False)
class _Task:
    """One piece of work.

    Attributes:
        until: by the monotonic clock, when it is given up if it has not begun.
        durable: whether it is on the disk when it is told.
        alone: it needs no transaction, or makes its own.
        then: is told of the result, on the loop, whether or not somebody still waits for it.
    """

    work: Work[Any]
    done: asyncio.Future[Any]
    until: float
    durable: bool = True
    alone: bool = False
    then: Callable[[Any], None] | None = None
    result: Any = None
    error: BaseException | None = None


class Worker:
    """Runs the work of one database.

    Args:
        database: the file.
        threaded: False runs each task at once, where it is asked for: for tests that hold the
            clock, since then nothing happens by itself.
    """

    def __init__(self, database: Database, *, threaded: bool = True) -> None:
        self._database = database
        self._threaded = threaded
        self._waiting: deque[_Task] = deque()
        self._ready = Condition()
        self._ending = False
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    # --- asking ---------------------------------------------------------------------------------

    async def read(self, query: Work[T]) -> T:
        """Run a query that is quick and writes nothing."""
        if self._database.reader is None:
            await self.apart(lambda _: None)
        try:
            with self._database.reading:
                if (reader := self._database.reader) is not None:
                    return query(reader)
        except sqlite3.Error as error:
            if is_busy(error):  # a process has just died in the middle, or somebody locks all out
                return await self.apart(query)
            why = error  # the thread looks at the file: it may wait
            raise await self.apart(lambda _: self._database.explain(why)) from None
        return await self.apart(query)  # it was closed meanwhile

    async def write(
        self,
        work: Work[T],
        *,
        durable: bool = True,
        patient: bool = False,
        then: Callable[[T], None] | None = None,
    ) -> T:
        """Run a transaction, which nobody else can come between.

        If the caller is cancelled meanwhile, it is run all the same.

        Args:
            work: what to do; what it raises undoes it and comes through. It may run twice, if what
                it was run together with failed.
            durable: whether it is on the disk before it is told. If not, it outlives this process,
                and is on the disk with the next that is.
            patient: whether to wait for a busy file for as long as it takes.
            then: is told of the result, on the loop, even if the caller was cancelled.
        """
        until = float("inf") if patient else time.monotonic() + BUSY_SECONDS
        task = _Task(work, self._future(), until, durable=durable, then=then)
        return cast("T", await self._do(task))

    def soon(self, work: Work[Any]) -> None:
        """Run a transaction that nobody waits for, and whose failure is no loss."""
        done = self._future()
        done.add_done_callback(lambda over: over.cancelled() or over.exception())
        self._add(_Task(work, done, time.monotonic() + BUSY_SECONDS, durable=False))

    async def apart(self, work: Work[T]) -> T:
        """Run what is no transaction, but may wait for a disk or a lock."""
        until = time.monotonic() + BUSY_SECONDS
        return cast("T", await self._do(_Task(work, self._future(), until, alone=True)))

    def _future(self) -> asyncio.Future[Any]:
        self._loop = asyncio.get_running_loop()
        return self._loop.create_future()

    async def _do(self, task: _Task) -> Any:
        self._add(task)
        with anyio.move_on_after(task.until + _GRACE - time.monotonic()):
            return await task.done
        # Only a thread that is stuck gets here: the disk does not come back.
        with self._ready:
            begun = task not in self._waiting
            if not begun and not task.alone:  # what is done alone may have begun
                self._waiting.remove(task)
        raise self._database.silent(unsure=begun)

    def _add(self, task: _Task) -> None:
        with self._ready:
            self._waiting.append(task)
            self._ready.notify()
        if not self._threaded:
            while not task.done.done():
                self._take_turn()
        elif self._thread is None:
            self._thread = Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Let what was asked for end, and close the file; whatever is stuck is left behind."""
        if self._thread is None:
            self._database.close()
            return
        self._ended = asyncio.get_running_loop().create_future()
        with self._ready:
            self._ending = True
            self._ready.notify()
        with anyio.move_on_after(CLOSING, shield=True):
            await self._ended
        self._thread, self._ending = None, False

    # --- doing, in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    break
            self._take_turn()
        self._database.close()
        self._on_loop(self._end)

    def _take_turn(self) -> None:
        """Do the first of what waits, together with what may be done with it."""
        with self._ready:
            together = self._together()
        if not together:
            return
        try:
            db = self._database.open()
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            self._give_up(self._take(len(self._waiting)), error)
            return
        alone, durable = together[0].alone, any(task.durable for task in together)
        try:
            if alone:
                together[0].result = together[0].work(db)
            else:
                self._database.begin(durable=durable)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            if not is_busy(error) or self._ending:
                self._give_up(self._take(1), error)
            self._give_up(self._take_late(), self._database.busy())
            return
        if alone:
            tasks = self._take(1)
        else:
            with self._ready:  # more may have come while the file was busy
                tasks = self._take(len(self._together(durable=durable)))
            self._transact(db, tasks)
        self._report(tasks)
        with contextlib.suppress(sqlite3.Error, OSError):  # it is tried again as the log grows
            self._database.copy_back()

    def _transact(self, db: sqlite3.Connection, tasks: list[_Task]) -> None:
        """Run tasks in the transaction that has begun; if that is lost, run each in its own."""
        lost = _work_through(db, tasks) or _committed(db)
        if lost is not None and len(tasks) == 1:
            tasks[0].error = tasks[0].error or lost
        elif lost is not None:
            for task in tasks:
                try:
                    self._database.begin(durable=task.durable)
                except sqlite3.Error as error:
                    task.error = error
                else:
                    self._transact(db, [task])

    # --- the line of those that wait --------------------------------------------------------------

    def _together(self, *, durable: bool = True) -> list[_Task]:
        """Return those at the head that can be done in one go.

        Args:
            durable: whether that is on the disk before it is told.
        """
        together: list[_Task] = []
        for task in self._waiting:
            if together and (task.alone or len(together) == MOST_TOGETHER):
                break
            if task.durable and not durable:
                break
            together.append(task)
            if task.alone:
                break
        return together

    def _take(self, count: int) -> list[_Task]:
        with self._ready:
            return [self._waiting.popleft() for _ in range(count)]

    def _take_late(self) -> list[_Task]:
        """Take those whose time is over."""
        now = time.monotonic()
        with self._ready:
            late = [task for task in self._waiting if task.until < now]
            for task in late:
                self._waiting.remove(task)
        return late

    # --- telling --------------------------------------------------------------------------------

    def _give_up(self, tasks: list[_Task], error: BaseException) -> None:
        for task in tasks:
            task.error = error
        self._report(tasks)

    def _report(self, tasks: list[_Task]) -> None:
        for task in tasks:
            if isinstance(task.error, sqlite3.Error | OSError):
                task.error = self._database.explain(task.error)
        self._on_loop(self._tell, tasks)

    def _on_loop(self, tell: Callable[..., None], *what: Any) -> None:
        if not self._threaded:
            tell(*what)
            return
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who waited
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(tell, *what)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _tell(self, tasks: Iterable[_Task]) -> None:
        """Tell of what was done; on the loop."""
        for task in tasks:
            if task.error is None and task.then is not None:
                task.then(task.result)
            if task.done.done():
                continue
            if task.error is None:
                task.done.set_result(task.result)
            else:
                task.done.set_exception(task.error)


def _work_through(db: sqlite3.Connection, tasks: list[_Task]) -> BaseException | None:
    """Run tasks, each behind a savepoint; return what ended the transaction, if something did."""
    if len(tasks) == 1:  # undone with its transaction
        return _work_alone(db, tasks[0])
    for task in tasks:
        task.error = None
        try:
            db.execute("SAVEPOINT task")
            task.result = task.work(db)
        except BaseException as error:  # noqa: BLE001  # whoever asked gets it
            task.error = error
            if not db.in_transaction:  # a full disk, for one, ends it
                return error
            db.execute("ROLLBACK TO task")
        db.execute("RELEASE task")
    return None


def _work_alone(db: sqlite3.Connection, task: _Task) -> BaseException | None:
    task.error = None
    try:
        task.result = task.work(db)
    except BaseException as error:  # noqa: BLE001  # whoever asked gets it
        task.error = error
        if db.in_transaction:
            db.execute("ROLLBACK")
        return error
    return None


def _committed(db: sqlite3.Connection) -> BaseException | None:
    try:
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return error
    return None
