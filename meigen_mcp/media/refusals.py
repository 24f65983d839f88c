"""Why a file of this machine is not read, and how its path is shown."""

import re

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_SHOWN = 120


class ReferenceRefused(Exception):
    """A local reference that is not read: nothing was sent.

    Attributes:
        message: what is wrong with which path, and the limit.
        fix: what to do instead.
    """

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def shown(text: str) -> str:
    """Write a path for a sentence; its end tells more than its start."""
    if UNPRINTABLE.search(text):
        return "the path"
    return f'"{text}"' if len(text) <= _LONGEST_SHOWN else f'"...{text[-_LONGEST_SHOWN:]}"'
