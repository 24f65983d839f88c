"""Whether an answer is true, by the API's books and by the disk."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

Answer = Mapping[str, Any]
_NOTHING = re.compile(r"[Nn]othing (?:was|is) (?:sent or )?(?:sent|charged)(?! (?:again|yet))")
_LOOKED_AT = "It is still looked at"
_LEFT_ALONE = "It is looked at no more by itself"


@dataclass(frozen=True)
class Booked:
    """What the API has of one request.

    Attributes:
        accepted: how many submissions of it were accepted.
        status: of its job; empty: there is none.
        credits: taken and not given back.
    """

    accepted: int = 0
    status: str = ""
    credits: int = 0


NOTHING = Booked()


def says_nothing_moved(answer: Answer) -> bool:
    """Say whether an answer is that nothing was sent, or nothing charged."""
    error = answer.get("error", {})
    words = f"{error.get('message', '')} {answer.get('next', '')}"
    unsent = answer["status"] in ("refused", "needs_approval", "dry_run")
    return error.get("charged") == "no" or bool(_NOTHING.search(words)) or (unsent and not error)


def untrue(
    answer: Answer, booked: Booked, *, looked_at: bool | None = None, priced: bool = True
) -> list[str]:
    """Return what an answer about one generation says that is not so.

    Args:
        answer: its structure.
        booked: what the API has.
        looked_at: whether the ledger has it looked at again; None: not asked.
        priced: the API itself tells its charge truly.
    """
    status, words = answer["status"], str(answer.get("next", ""))
    charged = answer.get("error", {}).get("charged")
    wrong = {
        "nothing was sent or charged": says_nothing_moved(answer) and booked.accepted > 0,
        "charged": charged == "yes" and not booked.credits,
        "refunded": charged == "refunded" and (booked.credits > 0 or not booked.accepted),
        "completed": status == "completed" and booked.status != "completed",
        "processing": status == "processing" and not booked.accepted,
        "failed": status == "failed" and booked.status == "completed" and charged != "unknown",
        "another charge": priced and answer.get("creditsUsed", booked.credits) != booked.credits,
        "still looked at": _LOOKED_AT in words and looked_at is False,
        "looked at no more": _LEFT_ALONE in words and looked_at is True,
    }
    told = [f"it says: {claim}" for claim, is_wrong in wrong.items() if is_wrong]
    return [f"{lie}; {booked}; {dict(answer)}" for lie in told] + unsaved(answer)


def unsaved(answer: Answer) -> list[str]:
    """Return which files of an answer are not there, or not whole, without a word about it."""
    cut = {item["index"] for item in answer.get("unsaved", ())}
    paths = [Path(name) for name in answer.get("files", ())]
    lost = [path for path in paths if not path.is_file()]
    broken = [path for path in paths if path not in lost and not is_whole(path)]
    told = [] if len(broken) <= len(cut) else broken
    return [f"saved, and not there: {p}" for p in lost] + [f"saved in part: {p}" for p in told]


def untold(answer: Answer) -> list[str]:
    """Return which results of a completed generation at rest are neither saved nor spoken of."""
    known = len(answer.get("files", ())) + len(answer.get("unsaved", ()))
    missing = len(answer.get("mediaUrls", ())) - known
    if answer["status"] != "completed" or (missing <= 0 and answer.get("mediaUrls")):
        return []
    if "mediaUrls" not in answer and answer.get("error", {}).get("message"):
        return []  # an address that is not opened is told in the message
    return [f"neither saved nor said: {dict(answer)}"]


def is_whole(path: Path) -> bool:
    """Say whether a picture can be decoded, or the boxes of a clip come to its end."""
    if path.suffix != ".mp4":
        try:
            with Image.open(path) as picture:
                picture.load()
        except (OSError, SyntaxError):
            return False
        return True
    data, place = path.read_bytes(), 0
    while place < len(data):
        place += max(8, int.from_bytes(data[place : place + 4]))
    return place == len(data)
