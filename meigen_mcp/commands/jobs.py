"""What `meigen-mcp jobs` does: see the ledger, download again, settle, call off."""

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx

from meigen_mcp import generation, saving
from meigen_mcp.app import Account, name_account, named_sandboxes, open_account
from meigen_mcp.commands import installed
from meigen_mcp.commands.clients import Machine
from meigen_mcp.commands.identities import Identity, elsewhere, identities, unread, with_first
from meigen_mcp.commands.members import find_among
from meigen_mcp.errors import MeigenError, NotFound, Refusal
from meigen_mcp.foreign import flat
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.offers import OFFERED_FOR
from meigen_mcp.ledger.records import Overview, Records
from meigen_mcp.ledger.spending import DAY
from meigen_mcp.ledger.whose import meant
from meigen_mcp.media.archive import Archive, archived_name
from meigen_mcp.media.store import still_shown
from meigen_mcp.people import person_of
from meigen_mcp.service.results import Listing
from meigen_mcp.settings import Settings
from meigen_mcp.views import generations as views
from meigen_mcp.wording import listed

SHORTEST = 6
"""Characters of the beginning of an id that can stand for it where something is only shown."""


class NotPossible(Refusal):
    """The command does not fit the state of the generation."""

    code = "not_possible"
    next = "Look at it with `meigen-mcp jobs ID`."


class NotDeleted(MeigenError):
    """A file that is no longer wanted is still there."""

    code = "not_deleted"
    next = "Make it possible to delete it, and type the command again."


async def run(
    settings: Settings,
    name: str | None = None,
    *,
    machine: Machine | None = None,
    fetch_again: bool = False,
    outcome: str | None = None,
    call_off: bool = False,
    older_than: float | None = None,
    forget_one: bool = False,
    limit: int = 20,
    who: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> str:
    """Do what the command says and return what it prints.

    Args:
        settings: what the environment says.
        name: the `generationId` or `requestId`; None lists the newest.
        machine: where the clients keep their files, whose tokens say whose generations are meant.
        fetch_again: download the media again.
        outcome: `charged` or `not-charged` settles an unknown one.
        call_off: end one that is still queued.
        older_than: forget what ended more than so many days ago.
        forget_one: forget the one that is named.
        limit: how many to list.
        who: whose is meant, by id, name, subject or `nobody`, where several people chose one name.
        transport: what carries requests to the API; by default the network.

    Raises:
        MeigenError: it cannot be done, and why.
    """
    found = installed.found(machine) if machine else []
    known = identities(settings, found)
    hint = "".join(f"\n{line}" for line in unread(found))
    hint += _other_folders(elsewhere(settings, found)) + _sandboxes(settings)
    async with open_account(with_first(settings, known), transport) as account:
        await account.ledger.open()
        now = account.ledger.clock()
        if older_than is not None:
            await account.ledger.offers.forget(now - max(older_than * DAY, OFFERED_FOR))
            found_old = await account.ledger.records.forgettable(now - older_than * DAY)
            return await forget(account.ledger.records, found_old, account.media.archive)
        if name is None:
            return await overview(account, settings.base_url, limit, known, now) + hint
        ends = forget_one or outcome is not None or call_off
        job = await find(account, name, who, hint, whole=ends)
        if forget_one:
            if not (job.terminal and job.at_rest):
                raise NotPossible(f"{job.name} is {job.status}; only what has ended is forgotten.")
            return await forget(account.ledger.records, [job], account.media.archive)
        if fetch_again:
            job = await fetch(account, job)
        elif outcome is not None:
            job = await settle(account, job, now, charged=outcome == "charged")
        elif call_off:
            job = await end_queued(account, job, now)
        shown = await still_shown(job, account.media.archive)
        return json.dumps(views.generation_structure(shown, now), indent=2, ensure_ascii=False)


def _other_folders(folders: Mapping[Path, str]) -> str:
    """Say where else generations of this person are; which folder is meant is theirs to say."""
    return "".join(
        f"\n{title}'s server keeps its ledger elsewhere: `meigen-mcp jobs` shows it with"
        f" MEIGEN_DATA_DIR={shlex.quote(str(folder))}."
        for folder, title in folders.items()
    )


def _sandboxes(settings: Settings) -> str:
    """Say how what sandboxes with a name made is seen."""
    named = [] if settings.sandbox is not None else sorted(named_sandboxes(settings))
    return "".join(
        f"\nWhat the sandbox {flat(name)} made: `meigen-mcp jobs --sandbox {flat(name)}`."
        for name in named
    )


async def overview(
    account: Account, origin: str, limit: int, known: Sequence[Identity], now: float
) -> str:
    """Return the newest as text; those of several accounts apart."""
    newest = await account.ledger.records.overview(limit, now)
    groups: dict[str, list[Generation]] = {}
    for job in newest.jobs:
        own = account.ledger.accounts.own(job)
        shown = await still_shown(job, account.media.archive)
        groups.setdefault("" if own else job.account, []).append(shown)
    key = await account.ledger.key()
    names = {name_account(origin, one.token, key): one.where for one in reversed(known)}
    parts: list[str] = []
    for name, jobs in groups.items():
        whose = known[0].where if not name and known else names.get(name)
        title = f"The account of {whose}:" if whose else "An account whose token is not here:"
        rows = views.rows_text(views.listing(Listing(tuple(jobs), *_sums(newest)))["generations"])
        parts += [title, *rows] if len(groups) > 1 else rows
    structure = views.listing(Listing((), *_sums(newest)))
    counted = newest.spent_month or newest.reserved
    none = f"none made at {origin}; what is counted was made elsewhere"
    parts = parts or [none if counted else "no generations yet"]
    return "\n".join([*parts, views.sums_text(structure)])


def _sums(newest: Overview) -> tuple[Decimal, Decimal, Decimal]:
    return newest.spent_today, newest.spent_month, newest.reserved


async def find(
    account: Account, name: str, who: str | None = None, hint: str = "", *, whole: bool = False
) -> Generation:
    """Return a record by `generationId` or `requestId`, whatever its token.

    Args:
        account: whose ledger it is.
        name: an id, or the beginning of one.
        who: whose, where several people chose it.
        hint: what else to say where there is none.
        whole: it must be a whole one, since something is ended by it.

    Raises:
        NotFound: the ledger has none with that id.
        NotPossible: several begin so, or it must be whole.
        SeveralPeople: it has one of each of them.
    """
    found = await account.ledger.records.named(name)
    begun = not found and len(name) >= SHORTEST
    if begun:
        found = await account.ledger.records.beginning(name)
    person = None
    if who is not None:
        person = await find_among(account.ledger, who, {person_of(job.account) for job in found})
        found = [job for job in found if person_of(job.account) == person]
    ids = dict.fromkeys(job.name for job in found)
    if begun and found and (whole or len(ids) > 1):
        why = "that takes a whole id" if len(ids) == 1 else "several ids begin so"
        raise NotPossible(f"{name} is the beginning of an id, and {why}: {listed([*ids])}.")
    job = meant(name, found, person)
    if job is None:
        raise NotFound(f"The ledger has no generation {name}.{hint}")
    return job


async def forget(records: Records, jobs: Sequence[Generation], archive: Archive | None) -> str:
    """Delete what is ours of records, take what was asked for out of them, and say what stays.

    In this order: a record is all that knows where its files are, so one whose files cannot be
    deleted stays whole.

    Raises:
        NotDeleted: there are such; the others are forgotten.
    """
    undeleted: list[str] = []
    clear = []
    for job in jobs:
        left = _delete([*job.files, job.preview], archive, job.preview)
        undeleted += left
        if not left and (job.prompt or job.preview or any(job.files)):
            clear.append(job)
    done = await records.forget(clear)
    what = "1 generation" if len(done.jobs) == 1 else f"{len(done.jobs)} generations"
    deleted = any(_ours(path, archive) for job in done.jobs for path in job.files if path)
    taken = "references, preview and kept files" if deleted else "references and preview"
    theirs = [path for job in done.jobs for path in job.files if path and not _ours(path, archive)]
    files = "".join(f"\n{flat(path)}" for path in theirs)
    told = (
        f"Forgotten: prompt, arguments, {taken} of {what}; key, amount and outcome stay."
        f"{done.left and f' {done.left}'} MeiGen keeps a history of its own."
        + (f" These files say what they were made from, and are yours to delete:{files}")
        * bool(files)
    )
    stays = ""
    if undeleted:
        stays = (
            "Not forgotten is what these files belong to, since they cannot be deleted:"
            f"{''.join(undeleted)}\nOnce they can, the same command forgets it.\n"
        )
    if changed := len(clear) - len(done.jobs):
        stays += f"Not forgotten are {changed} that changed just now: give the command again.\n"
    if stays:
        raise NotDeleted(f"{stays}{told * bool(done.jobs)}".rstrip())
    return told


def _ours(path: str, archive: Archive | None) -> bool:
    return archive is not None and archived_name(path) is not None


def _delete(
    paths: Iterable[str | None], archive: Archive | None, preview: str | None = None
) -> list[str]:
    """Delete files of an archive's, and a preview; return those that are still there, and why."""
    left = []
    for path in dict.fromkeys(filter(None, paths)):
        try:
            if archive is not None and _ours(path, archive):
                archive.discard(path, math.inf)
            elif path == preview:
                Path(path).unlink(missing_ok=True)
        except OSError as error:
            left.append(f"\n{flat(path)} ({error.strerror or error})")
    return left


async def fetch(account: Account, job: Generation) -> Generation:
    """Download the media of a completed generation again, also in place of what an archive has.

    Raises:
        NotPossible: it is not completed, or saving is turned off.
        ApiError: a medium cannot be had.
        NotSaved: the folder cannot be written.
        NotDeleted: what a medium of an archive's took the place of is still there.
    """
    if job.status != "completed":
        raise NotPossible(f"{job.name} is {job.status}; only a completed one has media.")
    if account.media.folder is None:
        raise NotPossible("MEIGEN_OUTPUT_DIR is off, so nothing can be saved.")
    before = job
    try:
        for index in range(len(job.media_urls)):
            path, why_not, signed = await account.media.save(job, index, last=True)
            change = partial(
                saving.saved, index=index, path=str(path), why_not=why_not, signed=signed
            )
            job = await account.ledger.records.change(job, change)
        job = await account.ledger.records.change(
            job, lambda job: saving.previewed(job, job.preview, job.unshown)
        )
    finally:
        left = _delete(_replaced(before, job), account.media.archive)
    if left:
        raise NotDeleted(f"Downloaded; what it took the place of cannot be deleted:{''.join(left)}")
    return job


def _replaced(before: Generation, job: Generation) -> list[str]:
    """Return what an archive had of a record and no longer needs.

    By their names in it: the same file has another path where the archive is mounted elsewhere.
    """
    kept = {archived_name(path) for path in (*job.files, job.preview) if path}
    had = filter(None, (*before.files, before.preview))
    return [path for path in had if archived_name(path) not in kept]


async def settle(account: Account, job: Generation, now: float, *, charged: bool) -> Generation:
    """End one of which MeiGen does not tell what became, and whose reservation would be held.

    Raises:
        NotPossible: it is neither unknown nor unconfirmed for an hour.
    """

    def settled(job: Generation) -> Generation:
        late = now - (job.posted_at or job.created_at) > generation.SETTLED_AFTER
        if job.status != "unknown" and not (job.status == "submitting" and late):
            raise NotPossible(
                f"{job.name} is {job.status}; only an unknown one, or one that is submitting for an"
                " hour, can be settled."
            )
        return generation.settled(job, now, charged=charged)

    return await account.ledger.records.change(job, settled)


async def end_queued(account: Account, job: Generation, now: float) -> Generation:
    """Call a generation off that was not sent yet, whichever process would send it.

    Raises:
        NotPossible: it was sent, or has ended.
    """

    def called_off(job: Generation) -> Generation:
        if job.terminal:
            raise NotPossible(f"{job.name} is {job.status} already; there is nothing to call off.")
        if job.status != "queued":
            raise NotPossible(
                f"{job.name} is {job.status}: it was sent to MeiGen, which knows no way to stop it,"
                " so it goes on and its credits are spent. Its result is kept."
            )
        if job.posted_at is not None:
            raise NotPossible(
                f"{job.name} was refused after a try whose reply was lost, which may still arrive:"
                " an hour after it was asked for it is looked up, and ends if MeiGen has nothing."
            )
        return generation.called_off(job, now)

    return await account.ledger.records.change(job, called_off)
