"""Signed URLs of what an archive keeps: whoever has one may open that one file, until it expires.

A page, a viewer or a person opens a URL without a token, so the signature is the lock.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from meigen_mcp.generation import Generation
from meigen_mcp.media.archive import archived_name
from meigen_mcp.people import person_of

PATH = "/media/"
DAY = 24 * 3600
GOOD_FOR = 7
"""Days for which a URL is good at the least. It ends with a day, so that it stays the same within
one: clients keep what they have, and no text changes."""
PERSON = 12
"""Characters of a person's id in a URL and in the log."""
_EXPIRES = re.compile(r"[0-9]{1,12}", re.ASCII)
_FOR = b"meigen-mcp media 1"
"""What a key is for here: the same seals what clients carry, and neither is good for the other."""


class MediaLinks:
    """Makes and judges the URLs of one origin.

    Args:
        origin: under which clients reach the server.
        keys: the first signs, all are taken.
        clock: seconds since the epoch.
    """

    def __init__(
        self, origin: str, keys: Sequence[bytes], clock: Callable[[], float] = time.time
    ) -> None:
        self.origin = origin
        self._keys = [hmac.digest(key, _FOR, "sha256") for key in keys]
        self._clock = clock

    def of(self, path: str, person: str) -> str | None:
        """Return the URL of a file of a person's; None: it is in no archive."""
        name = archived_name(path)
        if name is None:
            return None
        who = person[:PERSON]
        expires = str((int(self._clock()) // DAY + 1 + GOOD_FOR) * DAY)
        signed = _signature(self._keys[0], name, who, expires)
        return f"{self.origin}{PATH}{name}?{f'p={who}&' if who else ''}e={expires}&s={signed}"

    def judge(self, name: str, query: Mapping[str, str]) -> str | None:
        """Return for whom a URL was made; None: it is none of ours, or has expired."""
        who, expires, signature = query.get("p", ""), query.get("e", ""), query.get("s", "")
        if not (_EXPIRES.fullmatch(expires) and int(expires) > self._clock()):
            return None
        given = signature.encode()
        good = [
            hmac.compare_digest(_signature(key, name, who, expires).encode(), given)
            for key in self._keys
        ]
        return who if any(good) else None

    def name_in(self, url: str) -> str | None:
        """Return the name in the archive that one of our URLs is for, good or not."""
        start = f"{self.origin}{PATH}"
        return archived_name(url.partition("?")[0]) if url.startswith(start) else None

    def on(self, job: Generation) -> Generation:
        """Return a record whose media are at our URLs, as far as they are kept."""
        who = person_of(job.account)
        kept = [path and self.of(path, who) for path in job.files]
        kept += [None] * (len(job.media_urls) - len(kept))
        urls = tuple(own or url for own, url in zip(kept, job.media_urls, strict=False))
        return replace(job, media_urls=urls)

    def of_preview(self, job: Generation) -> str | None:
        """Return the URL of a record's small picture, if that is kept."""
        return job.preview and self.of(job.preview, person_of(job.account))


def _signature(key: bytes, name: str, who: str, expires: str) -> str:
    said = f"{name}\n{who}\n{expires}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, said, hashlib.sha256)[:18]).decode()
