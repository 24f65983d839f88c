"""What tools and resources answer with: the same facts as a structure and as text.

Some clients hand the model only the structure, some only the text; so each is complete by itself,
and the text is made from the structure.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from meigen_mcp.catalogue import arguments as args
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import MeigenError
from meigen_mcp.foreign import flat_lines, printable, printable_values
from meigen_mcp.generation import Generation, record_uri, used
from meigen_mcp.ledger.team import left
from meigen_mcp.media.store import mime_of
from meigen_mcp.reports import AWAY, Balance, Fault
from meigen_mcp.service.results import SANDBOXED, STARTS_ANEW, Listing, Outcome
from meigen_mcp.views import drafts, next_step
from meigen_mcp.views.structure import Structure, expected_json
from meigen_mcp.wording import credits_json, time_of, without_none

LONGEST_PROMPT = 120


# --- one generation -----------------------------------------------------------------------------


def generation_structure(job: Generation, now: float) -> Structure:
    """Return the public fields of a record; a field without a value is left out."""
    return printable_fields(
        {
            "generationId": job.shown_id,
            "requestId": job.request_id,
            "status": job.status,
            "mediaType": job.media_type,
            "modelId": job.model_id,
            "prompt": job.prompt or None,  # forgotten
            "mediaUrls": list(job.media_urls) or None,
            "files": [name for name in job.files if name] or None,
            "preview": job.preview,
            **_missing(job),
            "resourceUri": record_uri(job.name),
            "aspectRatio": job.aspect_ratio,
            "settings": _settings(job) or None,
            "madeFrom": list(job.made_from) or None,
            "creditsUsed": credits_json(used(job)),
            "quote": quote_structure(job.quote),
            # After a refund it is no longer what it was told to be.
            "credits": None if job.credits_status == "refunded" else _balance(job.balance),
            "createdAt": time_of(job.created_at),
            "elapsedSeconds": round(max(0.0, (job.finished_at or now) - job.created_at), 1),
            "expectedSeconds": expected_json(job.expected_seconds),
            "draft": drafts.known(job),
            "error": _fault(job.error),
        }
    )


def _missing(job: Generation) -> Structure:
    """Return what is not saved or not shown, and why, and who signed what is."""
    return {
        "unsaved": [{"index": item.medium, "reason": item.reason} for item in job.unsaved] or None,
        "unshown": job.unshown,
        "contentCredentials": [{"index": index, "said": said} for index, said in job.credentials]
        or None,
    }


def _settings(job: Generation) -> Structure:
    """Return the arguments as given, apart from what has a field of its own."""
    return {
        name: job.arguments[name] for name in job.arguments if name not in ("prompt", "modelId")
    }


def outcome(result: Outcome, now: float) -> Structure:
    """Return what a call answers about one generation."""
    structure = generation_structure(result.job, now) | {"status": result.status}
    if result.status in ("dry_run", "needs_approval"):
        for name in ("elapsedSeconds", "createdAt", "resourceUri"):
            structure.pop(name)
        if result.balance is not None:
            structure["credits"] = _balance(result.balance[0])
    return structure | {"next": printable(next_step.sentence(result, now))}


def refusal(error: MeigenError, tool: str, prompt: Any = None) -> Structure:
    """Return what a call answers when nothing was sent, or what was cannot be known."""
    medium = args.MEDIUM_OF.get(tool)
    sent = medium is not None and error.charged == "unknown" and error.request_id is not None
    return printable_fields(
        {
            "requestId": error.request_id,
            "status": "unknown" if sent else "refused",
            "mediaType": medium,
            "prompt": prompt[: args.LONGEST_PROMPT]
            if isinstance(prompt, str) and prompt.strip()
            else None,
            "error": {
                "code": error.code,
                "message": error.message,
                "charged": error.charged,
                "retryable": error.retryable,
            },
            "next": error.next,
        }
    )


def is_error(structure: Structure) -> bool:
    """Say whether a tool result is flagged: refused, failed, or waiting for the person's action."""
    status = structure.get("status")
    parked = status == "queued" and structure.get("error", {}).get("code", AWAY) != AWAY
    return status in ("refused", "failed") or parked


def quote_structure(quote: Quote) -> Structure:
    """Return the public fields of a quote."""
    figures = {"credits": credits_json(quote.credits), "kind": quote.kind, "basis": quote.basis}
    return without_none(figures)


def _balance(balance: Balance | None) -> Structure | None:
    if balance is None:
        return None
    return without_none(
        {
            "daily": credits_json(balance.daily),
            "purchased": credits_json(balance.purchased),
            "unlimited": balance.unlimited,
        }
    )


def _fault(fault: Fault | None) -> Structure | None:
    if fault is None:
        return None
    return without_none(
        {
            "code": fault.code,
            "message": fault.message,
            "detail": fault.detail or None,
            "charged": fault.charged,
            "retryable": fault.retryable,
        }
    )


# --- text ---------------------------------------------------------------------------------------


def text(structure: Structure) -> str:
    """Write a generation's structure as lines for a model that sees no structure."""
    status = structure["status"]
    what = [structure.get("mediaType", ""), structure.get("modelId", "")]
    head = f"{status}: {' by '.join(w for w in what if w)}" if any(what) else status
    head += f", {structure['aspectRatio']}" if "aspectRatio" in structure else ""
    lines = []
    for index, url in enumerate(structure.get("mediaUrls", ())):
        lines.append(f"media {index}: {url}")
    lines += _saved_lines(structure.get("files", ()))
    if "preview" in structure:
        lines.append(f"preview: {structure['preview']}")
    lines += _missing_lines(structure)
    if "prompt" in structure:
        lines.append(f"prompt: {cut(structure['prompt'])}")
    if "settings" in structure:
        said = (f"{name} {_said(value)}" for name, value in structure["settings"].items())
        lines.append(f"settings: {', '.join(said)}")
    if "madeFrom" in structure:
        lines.append(f"made from: {', '.join(structure['madeFrom'])}")
    lines += _money_lines(structure)
    times = {"created": "createdAt", "elapsed": "elapsedSeconds", "expected": "expectedSeconds"}
    known = [
        f"{word} {structure[name]}{' s' if name.endswith('Seconds') else ''}"
        for word, name in times.items()
        if name in structure
    ]
    lines += [", ".join(known)] if known else []
    for name in ("generationId", "requestId"):
        if name in structure:
            lines.append(f"{name}: {structure[name]}")
    if "resourceUri" in structure:
        lines.append(f"record: {structure['resourceUri']}")
    lines.append(f"next: {structure['next']}")
    return "\n".join([head, *_error_lines(structure), *flat_lines(lines)])


def _saved_lines(files: Sequence[str]) -> list[str]:
    """Write where the files are; several in one folder name it once."""
    folders = {file.rpartition(os.sep)[0] for file in files}
    if len(files) < 2 or len(folders) > 1:
        return [f"saved: {file}" for file in files]
    names = ", ".join(file.rpartition(os.sep)[2] for file in files)
    return [f"saved in {folders.pop()}: {names}"]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _missing_lines(structure: Structure) -> list[str]:
    of: dict[str, list[str]] = {}
    for item in structure.get("unsaved", ()):
        of.setdefault(item["reason"], []).append(str(item["index"]))
    lines = [f"not saved, or not whole: media {', '.join(of[why])}: {why}" for why in of]
    lines += [f"not shown: {structure['unshown']}"] if "unshown" in structure else []
    return lines + [
        f"content credentials: media {item['index']}: {item['said']}"
        for item in structure.get("contentCredentials", ())
    ]


def _error_lines(structure: Structure) -> list[str]:
    if "error" not in structure:
        return []
    error = structure["error"]
    if error["code"] == AWAY:
        return [error["message"]]
    retry = "may help" if error["retryable"] else "alone will not help"
    code = f"{error['code']} ({error['detail']})" if "detail" in error else error["code"]
    return [
        f"{code}: {error['message']}",
        f"charged: {error['charged']}; retrying {retry}",
    ]


def _money_lines(structure: Structure) -> list[str]:
    lines = []
    if "quote" in structure:
        quote = structure["quote"]
        figure = f"{quote['credits']} credits, " if "credits" in quote else ""
        lines.append(f"quote: {figure}{quote['kind']} ({quote['basis']})")
    if "creditsUsed" in structure:
        lines.append(f"used: {structure['creditsUsed']} credits")
    lines += drafts.told(structure)
    if "credits" in structure:
        known = structure["credits"]
        parts = [f"{known[name]} {name}" for name in ("daily", "purchased") if name in known]
        parts += ["unlimited"] if known.get("unlimited") else []
        lines += [f"balance: {', '.join(parts)}"] if parts else []
    return lines


def cut(prompt: str, longest: int = LONGEST_PROMPT) -> str:
    """Return the beginning of a prompt in one line."""
    flat = " ".join(prompt.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def progress_words(job: Generation, elapsed: float, place: int | None) -> str:
    """Say how a generation goes.

    Args:
        job: one that still runs.
        elapsed: the seconds since its call.
        place: how many are sent before it, if it is not sent yet.
    """
    line = "" if place is None else f", {place} before it" if place else ", next in line"
    away = ", MeiGen could not be reached" if job.error and job.error.passes else ""
    return f"{job.status}{away}{line}, {elapsed:.0f} s of about {job.expected_seconds:.0f} s"


# --- the newest ---------------------------------------------------------------------------------


def listing(result: Listing) -> Structure:
    """Return the newest generations, one compact row each."""
    rows = [
        printable_fields(
            {
                "generationId": job.shown_id,
                "requestId": job.request_id,
                "status": job.status,
                "mediaType": job.media_type,
                "modelId": job.model_id,
                "prompt": cut(job.prompt),
                "mediaUrls": list(job.media_urls) or None,
                "files": [name for name in job.files if name] or None,
                "preview": job.preview,
                **_missing(job),
                "resourceUri": record_uri(job.name),
                "madeFrom": list(job.made_from) or None,
                "creditsUsed": credits_json(used(job)),
                "createdAt": time_of(job.created_at),
                "draft": drafts.known(job),
                "error": _fault(job.error),
            }
        )
        for job in result.jobs
    ]
    structure: Structure = {
        "generations": rows,
        "spentToday": credits_json(result.spent_today),
        "spentMonth": credits_json(result.spent_month),
        "reserved": credits_json(result.reserved),
    }
    spans = {"dayLeft": left(result.allowances, 1), "monthLeft": left(result.allowances, 30)}
    if budget := without_none({name: credits_json(amount) for name, amount in spans.items()}):
        structure["budget"] = budget
    said = [SANDBOXED] if result.sandbox else []
    said += [STARTS_ANEW] if result.anew and not rows else []
    said += [next_step.of_others(result.others)] if result.others else []
    if said:
        structure["next"] = " ".join(said)
    return structure


def listing_text(structure: Structure) -> str:
    """Write the newest generations as lines."""
    lines = rows_text(structure["generations"])
    said = [f"next: {structure['next']}"] if "next" in structure else []
    return "\n".join([*(lines or ["no generations yet"]), sums_text(structure), *said])


def rows_text(rows: Sequence[Structure]) -> list[str]:
    """Write generations as lines, some for each."""
    lines = []
    for row in rows:
        cost = f", {row['creditsUsed']} credits" if "creditsUsed" in row else ""
        lines.append(
            f"{row['createdAt']} {row['status']} {row['mediaType']} by {row['modelId']}{cost}:"
            f" {row['prompt']}"
        )
        names = [f"{name} {row[name]}" for name in ("generationId", "requestId") if name in row]
        more = [*row.get("mediaUrls", ())]
        more += [f"saved: {name}" for name in row.get("files", ())]
        more += [f"preview: {row['preview']}"] if "preview" in row else []
        more += _missing_lines(row) + drafts.told(row)
        more += [f"made from: {', '.join(row['madeFrom'])}"] if "madeFrom" in row else []
        more += [", ".join(names), row["resourceUri"]]
        lines += [f"  {line}" for line in [*_error_lines(row), *flat_lines(more)]]
    return lines


def sums_text(structure: Structure) -> str:
    """Write what was spent."""
    held, budget = structure["reserved"], structure.get("budget", {})
    spans = (("dayLeft", "today"), ("monthLeft", "in these 30 days"))
    why = "only reserved, for what is queued or whose charge is not known"
    may = [f"{budget[name]} {span}" for name, span in spans if name in budget]
    return (
        (
            f"spent or reserved: {structure['spentToday']} credits in 24 hours,"
            f" {structure['spentMonth']} in 30 days"
        )
        + (f"; {held} of that {why}" if held else "")
        + (f"; you may still spend {' and '.join(may)}" if may else "")
    )


# --- media --------------------------------------------------------------------------------------


def media_links(job: Generation) -> list[tuple[str, str, str]]:
    """Return url, name and type of each final medium."""
    return [
        (url, f"{job.media_type} {index}", mime_of(url, job.media_type))
        for index, url in enumerate(job.media_urls)
    ]


def printable_fields(fields: Mapping[str, Any]) -> Structure:
    """Return the fields that have a value, with nothing in them that does more than be read."""
    return printable_values(without_none(fields))
