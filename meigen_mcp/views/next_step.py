"""What an answer tells the model to do next.

Names the tool, the id and the ceiling to pass: a model follows what stands there.
"""

from meigen_mcp.generation import SETTLED_AFTER, Generation
from meigen_mcp.service import finals
from meigen_mcp.service.repeats import forgotten
from meigen_mcp.service.results import SANDBOXED, STARTS_ANEW, Outcome
from meigen_mcp.wording import listed, time_of

_ANEW = f" {STARTS_ANEW}"

RUNS_ON = "MeiGen knows no way to stop what runs; the wait for it can be given up."
FORGOTTEN = (
    "What it was asked with, and its files, were forgotten here, so nothing says whether these are"
    " the same arguments."
)
"""Said of a repeated call: nobody is to take its answer for a check."""


def how_to_stop(job: Generation) -> str:
    """Return how a queued one is called off."""
    return (
        "While it is queued it can be called off, uncharged:"
        f" `meigen-mcp jobs {job.request_id} --call-off`."
    )


def sentence(result: Outcome, now: float) -> str:
    """Return what to do next, in one or a few sentences."""
    job = result.job
    others = f" {of_others()}" if result.others else ""
    if others and job.generation_id is None and not job.terminal:
        return _out_of_reach(job) + others
    match "broken" if result.broken else result.status:
        case "completed" if not job.media_urls:
            words = "Give the person the address in the message as it is, with the reason."
        case "completed":
            words = f"Give the person the {_results(job)}."
            words += " Say what is not saved, or not whole, and why." if job.unsaved else ""
            words += f" {_still_saved(job)}" if result.saving else ""
            words += " Give them the address in the message too." if job.error else ""
            words += _final(job)
        case "processing" if job.unobserved:
            words = (
                "Tell the person that MeiGen no longer observes it: neither failed nor refunded is"
                f" proven. {_looked_at(job)}; check_status with {_by_name(job)} later."
            )
        case "processing":
            words = f"Wait for the result: call check_status with {_by_name(job)}. {RUNS_ON}"
        case "submitting":
            words = _see_what_becomes(job, now)
        case "queued" if job.error is None or job.error.passes:
            start = _starts(result, now)
            words = f'Wait for it: call check_status with requestId "{job.request_id}"{start}.'
            words += f" {how_to_stop(job)}"
        case "needs_approval":
            words = _ask_person(result)
        case "dry_run":
            words = _after_dry_run(result)
        case _:
            words = job.error.next if job.error else "Call check_status again later."
            words += _retry(job)
    waits = result.status in ("queued", "submitting", "processing", "needs_approval")
    anew = _ANEW if result.anew and waits else ""
    placeholder = f" {SANDBOXED}" if result.sandbox else ""
    return _special(result) + words + _missing(result) + placeholder + anew + others


def _see_what_becomes(job: Generation, now: float) -> str:
    late = now - (job.posted_at or job.created_at) > SETTLED_AFTER
    return (
        f'See what becomes of it: call check_status with requestId "{job.request_id}".'
        f" MeiGen has not confirmed it yet. {_looked_at(job)}. Do not start it again."
    ) + (f" {_settle(job)}" if late else "")


def of_others(count: int | None = None) -> str:
    """Return what records of an earlier token are good for: of one, or so many of a list."""
    it = "It was" if count is None else f"{count} of these {'was' if count == 1 else 'were'}"
    return (
        f"{it} made with another token, of which MeiGen has not shown that it is this account's:"
        " shown, saved and good as a reference, but never sent or adopted by this one."
    )


def _out_of_reach(job: Generation) -> str:
    if job.status == "queued":
        return "Tell the person that only its own token can send it; an hour old it ends uncharged."
    return f"Tell the person that only its own token can ask what became of it. {_settle(job)}"


def _settle(job: Generation) -> str:
    return (
        "The person can look at the history on meigen.ai and settle it in a terminal:"
        f" `meigen-mcp jobs {job.request_id} --settle charged` or `not-charged`."
    )


def _final(job: Generation) -> str:
    """Say how a draft becomes a final; it is paid for again, so the person decides."""
    if not job.drafted:
        return ""
    if wrong := finals.not_as_announced(job):
        return (
            f" Tell the person that this draft {wrong}: they can render the final on meigen.ai, and"
            " no further draft is made here before MeiGen's next list."
        )
    if job.draft is None or not job.draft.request:
        return " Tell the person to render the final on meigen.ai: MeiGen told no way to it here."
    return (
        f" It is a draft: ask the person whether to render the final in 1080p for"
        f" {job.draft.final_credits:f} credits more, until"
        f" {time_of(finals.over_at(job, job.draft))}; if so, call generate_video with finalOf"
        f' "{job.name}" and the same prompt and modelId.'
    )


def _retry(job: Generation) -> str:
    """Say how a final that failed is tried again, where MeiGen says that it can be."""
    if job.draft is None or not job.draft.request or job.status != "failed" or forgotten(job):
        return ""
    return (
        f" The final can be tried again for {job.draft.final_credits:f} credits: call"
        f' generate_video with finalOf "{job.name}".'
    )


def _special(result: Outcome) -> str:
    """Say what is special about an answer."""
    words = ""
    if result.uploaded.pictures and not result.sandbox:
        one = result.uploaded.pictures == 1
        what = "a copy of the local file is" if one else "copies of the files are"
        words += f"Tell the person that {what} public at MeiGen's upload host for 24 hours. "
    if result.uploaded.clips and not result.sandbox:
        one = result.uploaded.clips == 1
        what = "a copy of the local clip or sound is" if one else "copies of the local clips are"
        words += f"Tell the person that {what} public at MeiGen for seven days. "
    if result.repeated:
        words += "This is the generation that the requestId stands for, not a second one. "
        words += f"{FORGOTTEN} " if forgotten(result.job) else ""
    if result.adopted:
        words += "This is the generation of your interrupted call, not a second one. "
    return words


def _missing(result: Outcome) -> str:
    """Say what an answer lacks for a reason that the person can mend."""
    frames = f" {result.frameless}" if result.frameless else ""
    return frames + (f" {result.unwritable}." if result.unwritable else "")


def _looked_at(job: Generation) -> str:
    if job.at_rest:
        return "It is looked at no more by itself, but at each start of a server"
    return "It is still looked at"


def _by_name(job: Generation) -> str:
    """Return the argument by which exactly this one is asked for."""
    own = job.generation_id is not None and not job.twin
    return f'generationId "{job.name}"' if own else f'requestId "{job.request_id}"'


def _still_saved(job: Generation) -> str:
    return f"It is still being saved; check_status with {_by_name(job)} says where."


def _results(job: Generation) -> str:
    files = sum(name is not None for name in job.files)
    counts = ((len(job.media_urls), "URL"), (files, "saved file"))
    return listed(
        [word if count == 1 else f"{count} {word}s" for count, word in counts if count], "and the"
    )


def _after_dry_run(result: Outcome) -> str:
    if (refusal := result.objection) is not None:
        return f"It would be refused: {refusal.message} {refusal.next}"
    asked = ", and the person is asked first" if result.asks else ""
    return f"Call again without dryRun to make it{asked}; nothing was sent."


def _starts(result: Outcome, now: float) -> str:
    if result.job.failures:
        return (
            "; MeiGen could not be reached, nothing was sent yet, and it is tried again by itself."
            " If that goes on, the person runs `meigen-mcp doctor`, which says why"
        )
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
        price += f", and {result.recent:f} were spent or reserved unasked in the last hour"
    balance = ""
    if result.balance is not None and result.balance[0].purchased is not None:
        balance = (
            f" Last known balance {result.balance[0].purchased:f} ({time_of(result.balance[1])})."
        )
    cheaper = [f"{words} ({q.credits:f})" for words, q in result.cheaper if q.credits is not None]
    options = f" Cheaper: {listed(cheaper)}." if cheaper else ""
    call = f'the same call with requestId "{result.job.request_id}"'
    match result.way:
        case "ask again":
            before = "Nobody answered the question. "
            agree = f"repeat {call}: they are asked again."
        case "terminal":
            before = "This client does not get their answer. "
            agree = f"they type that command first, then repeat {call}."
        case _:
            before = "This client answered by itself. " if result.way == "automatic" else ""
            agree = f"repeat {call} and maxCredits {ceiling}."
    return (
        f"{before}Ask the person: {price}.{balance}{options} They are asked above"
        f" MEIGEN_CONFIRM_ABOVE, and can agree in a terminal too: {result.command}. If they agree,"
        f" {agree}"
    )
