"""What `meigen-mcp jobs` does: see the ledger, download again, settle, call off."""

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import httpx

from meigen_mcp import generation, saving
from meigen_mcp.app import Account, name_account, named_sandboxes, open_account
from meigen_mcp.commands import installed
from meigen_mcp.commands.clients import Machine
from meigen_mcp.commands.identities import Identity, elsewhere, identities, unread, with_first
from meigen_mcp.errors import NotFound, Refusal
from meigen_mcp.foreign import flat
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.records import Overview, Records
from meigen_mcp.ledger.spending import DAY
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
            return await forget(
                account.ledger.records, None, now - older_than * DAY, account.media.archive
            )
        if name is None:
            return await overview(account, settings.base_url, limit, known, now) + hint
        ends = forget_one or outcome is not None or call_off
        job = await find(account, name, hint, whole=ends)
        if forget_one:
            if not (job.terminal and job.at_rest):
                raise NotPossible(f"{job.name} is {job.status}; only what has ended is forgotten.")
            return await forget(account.ledger.records, job, math.inf, account.media.archive)
        if fetch_again:
            job = await fetch(account, job)
        elif outcome is not None:
            job = await settle(account, job, now, charged=outcome == "charged")
        elif call_off:
            job = await end_queued(account, job, now)
        return json.dumps(
            views.generation_structure(still_shown(job), now), indent=2, ensure_ascii=False
        )


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
        groups.setdefault("" if own else job.account, []).append(still_shown(job))
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


async def find(account: Account, name: str, hint: str = "", *, whole: bool = False) -> Generation:
    """Return a record by `generationId` or `requestId`, whatever its token.

    Args:
        account: whose ledger it is.
        name: an id, or the beginning of one.
        hint: what else to say where there is none.
        whole: it must be a whole one, since something is ended by it.

    Raises:
        NotFound: the ledger has none with that id.
        NotPossible: several people chose it, several begin so, or it must be whole.
    """
    found = await account.ledger.records.named(name)
    alike = [] if found or len(name) < SHORTEST else await account.ledger.records.beginning(name)
    if alike and (whole or len(alike) > 1):
        why = "that takes a whole id" if len(alike) == 1 else "several ids begin so"
        ids = listed([job.name for job in alike])
        raise NotPossible(f"{name} is the beginning of an id, and {why}: {ids}.")
    found = found or alike
    if not found:
        raise NotFound(f"The ledger has no generation {name}.{hint}")
    if len({person_of(job.account) for job in found}) > 1:
        ids = listed([job.generation_id or "one without any" for job in found], "and")
        raise NotPossible(
            f"{name} is the requestId of several people's generations. Name the one that is meant"
            f" by its generationId: {ids}."
        )
    return found[0]


async def forget(
    records: Records, one: Generation | None, ended_before: float, archive: Archive | None = None
) -> str:
    """Take what was asked for out of records, with what an archive keeps, and say what stays.

    Files go first: of one that stays the record is the last trace, and the same command finds it.

    Raises:
        NotPossible: some could not be deleted.
    """
    found = await records.forgettable(one, ended_before)
    stuck = {job.request_id: path for job in found for path in _undeleted(job, archive)}
    left = await records.forget([job for job in found if job.request_id not in stuck])
    count = len(found) - len(stuck)
    what = "1 generation" if count == 1 else f"{count} generations"
    theirs = [path for job in found for path in job.files if path and not _kept(path, archive)]
    files = "".join(f"\n{flat(path)}" for path in theirs)
    said = (
        f"Forgotten: prompt, arguments, references and preview of {what}; key, amount and outcome"
        f" stay.{left and f' {left}'} MeiGen keeps a history of its own."
        + (f" These files say what they were made from, and are yours to delete:{files}")
        * bool(files)
    )
    if stuck:
        still = "".join(f"\n{flat(path)}" for path in stuck.values())
        raise NotPossible(
            f"{said}\nNot forgotten, since files of theirs cannot be deleted; call again when they"
            f" can:{still}"
        )
    return said


def _kept(path: str, archive: Archive | None) -> bool:
    """Say whether a file is an archive's, there or not any more."""
    return archive is not None and archived_name(path) is not None


def _undeleted(job: Generation, archive: Archive | None) -> Iterator[str]:
    """Delete what is kept of a record, and yield what could not be."""
    for path in (job.preview, *job.files):
        if path and archive is not None and _kept(path, archive):
            archive.discard(path, math.inf)
            if (there := archive.find(path)) is not None:
                yield str(there)
        elif path and path == job.preview:
            try:
                Path(path).unlink(missing_ok=True)
            except OSError:
                yield path


async def fetch(account: Account, job: Generation) -> Generation:
    """Download the media of a completed generation again, beside what is there.

    Raises:
        NotPossible: it is not completed, or saving is turned off.
        ApiError: a medium cannot be had.
        NotSaved: the folder cannot be written.
    """
    if job.status != "completed":
        raise NotPossible(f"{job.name} is {job.status}; only a completed one has media.")
    if account.media.folder is None:
        raise NotPossible("MEIGEN_OUTPUT_DIR is off, so nothing can be saved.")
    saved = [
        await account.media.save(job, index, last=True) for index in range(len(job.media_urls))
    ]

    def again(job: Generation) -> Generation:
        for index, (path, why_not, signed) in enumerate(saved):
            job = saving.saved(job, index, str(path), why_not, signed)
        return saving.previewed(job, job.preview, job.unshown)

    return await account.ledger.records.change(job, again)


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
        return generation.called_off(job, now)

    return await account.ledger.records.change(job, called_off)
