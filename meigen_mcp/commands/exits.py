"""How `meigen-mcp image` and `video` end, as a script sees it, and what is then to do."""

from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Any

from meigen_mcp.reports import AWAY, EXPIRED


class Exit(IntEnum):
    """The exit status of one call."""

    DONE = 0
    REFUSED = 2
    OVER_CAP = 3
    NEEDS_YES = 4
    REFUNDED = 5
    CHARGED = 6
    UNKNOWN = 7


BY_WEIGHT = (
    *(Exit.DONE, Exit.NEEDS_YES, Exit.OVER_CAP, Exit.REFUSED),
    *(Exit.REFUNDED, Exit.CHARGED, Exit.UNKNOWN),
)
"""The last of several is the exit status of them all."""
_OF_CODE: Mapping[str, Exit] = {
    "over_cap": Exit.OVER_CAP,
    "declined": Exit.NEEDS_YES,
    "approval_ended": Exit.NEEDS_YES,
}
_OF_CHARGE: Mapping[str, Exit] = {
    "no": Exit.REFUNDED,
    "refunded": Exit.REFUNDED,
    "yes": Exit.CHARGED,
}


def exit_of(answer: Mapping[str, Any]) -> Exit:
    """Return the exit status for the fields of a generation as they were answered."""
    error = answer.get("error", {})
    match answer["status"]:
        case "completed" | "dry_run":
            return Exit.DONE
        case "needs_approval":
            return Exit.NEEDS_YES
        case "failed":
            return _OF_CHARGE.get(error["charged"], Exit.UNKNOWN)
        case "refused" if error["charged"] == "no":
            return _OF_CODE.get(error["code"], Exit.REFUSED)
        case "queued" if error and error["code"] != AWAY:  # for want of a token or credits
            return Exit.REFUSED
        case _:
            return Exit.UNKNOWN


_MEND = "Mend that and run the same command again: it is sent with the same key."
_ENDS = "This sandbox ends with this command; one with a name remembers: --sandbox NAME."


def advise(
    answer: Mapping[str, Any],
    recent: Decimal | None = None,
    *,
    key: bool = False,
    several: bool = False,
    anew: bool = False,
) -> str | None:
    """Return what the person can do next, where the message does not say it.

    Args:
        answer: the fields of a generation.
        recent: the credits of the last hour, where they are why a yes is needed.
        key: it has a key, which goes on naming it.
        several: its prompt is one of a file.
        anew: the sandbox ends with this command, and whatever waits there.
    """
    price = answer.get("quote", {}).get("credits")
    name = answer.get("requestId")
    match answer["status"]:
        case "needs_approval" if price is None:
            return "Run it in a terminal, where you are asked; --yes-up-to covers no unknown price."
        case "needs_approval":
            hour = (
                f"{recent:f} credits were spent or reserved unasked in the last hour. "
                if recent
                else ""
            )
            again = f"Run it again with --yes-up-to {price}, or in a terminal, where you are asked."
            return hour + again
        case "queued":
            return _ENDS if anew else _MEND
        case "failed" if key and answer["error"]["code"] == EXPIRED.code:
            return "Its key is free again: run the same command to make it."
        case "failed" if key and several:
            return (
                "Its line goes on naming this one, which is not made again. To try it anew, change"
                " its words, or write the line once more."
            )
        case "failed" if key:
            return (
                "Its key goes on naming this one, which is not made again. To try it anew, choose"
                " another --key."
            )
        case "unknown":
            return (
                "Look at your history on meigen.ai, then say how it was:"
                f" `meigen-mcp jobs {name} --settle charged` or `not-charged`."
            )
        case "submitting" | "processing":
            return f"It is still looked at: `meigen-mcp jobs {name}` says how it stands."
        case "refused" if answer["error"]["code"] == "missing_token":
            return "Set MEIGEN_API_TOKEN or MEIGEN_API_TOKEN_FILE, or try it with --sandbox."
        case _:
            return None
