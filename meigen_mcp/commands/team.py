"""What `meigen-mcp team` does: who uses a server, what each may spend, and forgetting somebody."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from unicodedata import normalize

from meigen_mcp.app import open_account
from meigen_mcp.commands import jobs
from meigen_mcp.commands.members import SHORT, find_member
from meigen_mcp.errors import MeigenError
from meigen_mcp.foreign import flat
from meigen_mcp.ledger.team import EACH, TEAM, Caps, Member
from meigen_mcp.settings import Settings
from meigen_mcp.wording import time_of

COLUMNS = (
    *("person", "name", "issuer", "subject", "since", "generations"),
    *("spentToday", "dayCap", "spentMonth", "monthCap"),
)
_FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet works out."""
_NOBODY = "Nobody signed in yet: people sign in to `serve --http` by MEIGEN_OAUTH_ISSUER."


class NoCap(MeigenError):
    """A cap cannot be set as it was typed."""

    code = "invalid_arguments"
    next = "Type the command again."


async def listed(settings: Settings, *, as_csv: bool) -> str:
    """Return everybody with what they spent and may spend, as text or as CSV.

    Raises:
        MeigenError: the ledger cannot be read.
    """
    async with open_account(settings) as account:
        await account.ledger.open()
        now = account.ledger.clock()
        team, caps = account.ledger.team, await account.ledger.team.caps()
        members = await team.members(now)
        whole = await account.ledger.of(None).records.overview(1, now)
    if as_csv:
        return _csv(members)
    lines = [_line(member) for member in members] or [_NOBODY]
    each = _caps(caps.get(EACH, Caps()))
    lines.append(f"{EACH}: {each}, where a person has no number of their own")
    spent = f"{whole.spent_today:f} in 24 hours, {whole.spent_month:f} in 30 days"
    lines.append(f"{TEAM}: spent or reserved {spent}; {_caps(caps.get(TEAM, Caps()))}")
    lines.append(f"(in {settings.ledger_place})")
    return "\n".join(lines)


async def cap(settings: Settings, who: str, day: str | None, month: str | None) -> str:
    """Set caps of a person, of each or of the team, and return what is set now.

    Args:
        settings: what the environment says.
        who: a person by id, name or subject; or `each`, or `team`.
        day: credits in 24 hours, or `none`; None: as it was.
        month: credits in 30 days, likewise.

    Raises:
        MeigenError: nobody is meant, or the ledger cannot be written.
    """
    async with open_account(settings) as account:
        await account.ledger.open()
        name = who if who in (EACH, TEAM) else (await find_member(account.ledger, who)).id
        caps = (await account.ledger.team.caps()).get(name, Caps())
        if day is not None:
            caps = replace(caps, day=_amount("--day", day))
        if month is not None:
            caps = replace(caps, month=_amount("--month", month))
        await account.ledger.team.set_caps(name, caps)
    own = "" if name in (EACH, TEAM) else f"; what is not said here is as for `{EACH}`"
    return (
        f"{flat(who)}: {_caps(caps)}{own}. It holds from the next call on, in"
        f" {settings.ledger_place}."
    )


async def forget(settings: Settings, who: str) -> str:
    """Forget who a person was and what they asked for; what it cost stays.

    Raises:
        MeigenError: nobody is meant, the ledger cannot be written, or a file not be deleted: then
            they are still known, so that the same can be asked for again.
    """
    async with open_account(settings) as account:
        await account.ledger.open()
        member = await find_member(account.ledger, who)
        share = account.ledger.of(member.id)
        found = await share.records.forgettable(math.inf)
        told = await jobs.forget(share.records, found, account.media.archive)
        left = [job for _, job in await share.records.newest(member.made + 1) if job.prompt]
        await account.ledger.team.forget(member.id)
    again = (
        f" {len(left)} that have not ended keep theirs: run it again with {member.id} then."
        if left
        else ""
    )
    return f"{told}\nWho {member.id[:SHORT]} was is forgotten too.{again}"


def _amount(option: str, typed: str) -> Decimal | None:
    if typed.lower() == "none":
        return None
    try:
        amount = Decimal(typed)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= 10**12):
        raise NoCap(
            f"{option} {flat(typed)} is no number of credits: give 0 or more, or none. Nothing was"
            " changed."
        )
    return amount


def _line(member: Member) -> str:
    return (
        f"{member.id[:SHORT]} {flat(member.name)} ({flat(member.subject)} of {flat(member.issuer)},"
        f" since {time_of(member.seen_at)}): {member.made} made,"
        f" spent or reserved {member.spent_today:f} in 24 hours,"
        f" {member.spent_month:f} in 30 days; {_caps(member.caps)}"
    )


def _caps(caps: Caps) -> str:
    pairs = ((caps.day, "a day"), (caps.month, "in 30 days"))
    said = [f"{amount:f} {span}" for amount, span in pairs if amount is not None]
    return f"at most {' and '.join(said)}" if said else "no caps set"


def _csv(members: Sequence[Member]) -> str:
    """Write a table that a spreadsheet reads; a cell that would begin a formula is made a text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for member in members:
        numbers = (member.spent_today, member.caps.day, member.spent_month, member.caps.month)
        words = (member.id, member.name, member.issuer, member.subject)
        table.writerow(
            [
                *map(_cell, words),
                time_of(member.seen_at),
                member.made,
                *("" if number is None else f"{number:f}" for number in numbers),
            ]
        )
    return text.getvalue().rstrip("\n")


def _cell(word: str) -> str:
    """Return a word on one line; a formula may stand behind spaces, and in wide signs."""
    line = flat(word)
    return f"'{line}" if normalize("NFKC", line).strip().startswith(_FORMULA) else line
