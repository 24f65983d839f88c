"""What an answer tells the model to do next.

Names the tool, the id and the ceiling to pass: a model follows what stands there.
"""

from datetime import UTC, datetime

from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.rules import listed
from meigen_mcp.service import Outcome


def sentence(result: Outcome, now: float) -> str:
    """Return the advice, in one or a few sentences."""
    job = result.job
    match result.status:
        case "completed":
            words = f"Give the person the {_results(job)}."
        case "processing" if job.unobserved:
            words = (
                "Tell the person that MeiGen no longer observes it: neither failed nor refunded is"
                f' proven. It is still looked at; check_status with generationId "{job.name}"'
                " later."
            )
        case "processing":
            words = f'Call check_status with generationId "{job.name}"; it waits for the result.'
        case "submitting":
            words = (
                f'Call check_status with requestId "{job.request_id}"; MeiGen has not confirmed it'
                " yet. Do not start it again."
            )
        case "queued" if job.error is None:
            start = _starts(result, now)
            words = f'Call check_status with requestId "{job.request_id}"{start}.'
        case "needs_approval":
            words = _ask_person(result)
        case "dry_run":
            words = _after_dry_run(result.objection)
        case _:
            words = job.error.next if job.error else "Call check_status again later."
    return _special(result) + words


def _special(result: Outcome) -> str:
    """Say what is special about an answer."""
    words = ""
    if result.uploaded:
        what = "a copy of the local file is" if result.uploaded == 1 else "copies of the files are"
        words += f"Tell the person that {what} public at MeiGen's upload host for 24 hours. "
    if result.repeated:
        words += "This is what that requestId stands for; nothing was charged again. "
    if result.adopted:
        words += "This is the generation of your interrupted call, not a second one. "
    return words


def _results(job: Generation) -> str:
    files = sum(name is not None for name in job.files)
    counts = ((len(job.media_urls), "URL"), (files, "saved file"))
    return listed(
        [word if count == 1 else f"{count} {word}s" for count, word in counts if count], "and the"
    )


def _after_dry_run(objection: MeigenError | None) -> str:
    if objection is None:
        return "Call again without dryRun to make it; nothing was sent."
    return f"It would be refused: {objection.message} {objection.next}"


def _starts(result: Outcome, now: float) -> str:
    if result.starts_at is None or result.starts_at <= now:
        return ""
    line = f"{result.place} before it" if result.place else "next in line"
    wait = round(result.starts_at - now)
    return f"; it waits for the submission limit, {line}, starts in about {wait} s"


def _ask_person(result: Outcome) -> str:
    quote = result.job.quote
    if quote.credits is None:
        ceiling, price = "the most they will pay", "the price is not known, the charge may differ"
    else:
        ceiling = f"{quote.credits:f}"
        price = f"it costs {'at least ' if quote.kind == 'at_least' else ''}{ceiling} credits"
        if not quote.bounded:
            price += ", the charge may differ"
    if result.recent is not None:
        price += f", and {result.recent:f} were spent or reserved in the last hour"
    balance = ""
    if result.balance is not None and result.balance[0].purchased is not None:
        balance = (
            f" Last known balance {result.balance[0].purchased:f} ({time_of(result.balance[1])})."
        )
    cheaper = [f"{words} ({q.credits:f})" for words, q in result.cheaper if q.credits is not None]
    options = f" Cheaper: {listed(cheaper)}." if cheaper else ""
    return (
        f"Ask the person: {price}.{balance}{options} If they agree, repeat the same call with"
        f' requestId "{result.job.request_id}" and maxCredits {ceiling}.'
    )


def time_of(seconds: float) -> str:
    """Return a time as clients read it, in UTC to the second."""
    when = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{when.isoformat(timespec='seconds')}Z"
