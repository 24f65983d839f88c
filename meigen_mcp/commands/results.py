"""What `meigen-mcp image` and `video` print: results on stdout, all else for people on stderr."""

import json
import re
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.commands.output import StatusLine, say
from meigen_mcp.generation import Generation
from meigen_mcp.views.generations import cut, progress_words, quote_structure


class Results:
    """Shows what becomes of an order.

    Args:
        as_json: one JSON object a line; else the saved files, or the URLs of what is not saved.
        saves: there is a folder; where there is none nobody is told that nothing is saved.
        words: what is called otherwise in a terminal than in a chat, with its name there, and as
            `- duration` what a problem is about; for programs the names stay.

    Attributes:
        held: no progress is shown, since the person is asked something.
        waited_for: the ids of what is under way.
    """

    def __init__(
        self, *, as_json: bool, saves: bool = True, words: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._as_json = as_json
        self._saves = saves
        self._words = words
        self._status = StatusLine(err=True)
        self._told: set[str] = set()
        self.held = False
        self.waited_for: Sequence[str] = ()

    @property
    def live(self) -> bool:
        """Whether somebody sees how it goes."""
        return sys.stderr.isatty()

    def show(self, answer: dict[str, Any], advice: str | None) -> None:
        """Show how one call ended."""
        self._status.clear()
        if self._as_json:
            next_step = {} if advice is None else {"next": advice}
            say(json.dumps({**answer, **next_step}, ensure_ascii=False))
            return
        files = answer.get("files", [])
        urls = answer.get("mediaUrls", [])
        for name in files if len(files) == len(urls) else urls:
            say(name)
        if answer["status"] == "dry_run":
            say(_priced(answer["quote"]))
        prompt = answer.get("prompt")
        about = f"{answer['status']}: {cut(prompt)}" if prompt else answer["status"]
        error = answer.get("error")
        lines = [error["message"]] if error else []
        unsaved = answer.get("unsaved", ()) if self._saves else ()
        lines += [f"not saved, or not whole: {item['reason']}" for item in unsaved]
        if answer["status"] == "needs_approval":
            lines += [f"It costs {_priced(answer['quote'])}. Nothing was sent or charged."]
        lines += [] if advice is None else [advice]
        if lines or self.live:
            used = answer.get("creditsUsed")
            say(about if used is None else f"{about} ({used} credits)", err=True)
        for line in lines:
            say(self._translated(line), err=True)

    def tell_once(self, line: str) -> None:
        """Say why something takes long, to whom it may concern, and not again."""
        if line not in self._told:
            self._told.add(line)
            self.close()
            say(line, err=True)

    def _translated(self, line: str) -> str:
        """Return a sentence with the names of the terminal."""
        return re.sub(r"(?m)^- \w+|\w+", lambda word: self._words.get(word[0], word[0]), line)

    def show_total(self, quote: Quote) -> None:
        """Show what several calls come to together, where no program reads."""
        if not self._as_json:
            say(f"in all {_priced(quote_structure(quote))}", err=True)

    def progress(self, jobs: Collection[Generation], total: int) -> None:
        """Show how it goes, in one line that replaces itself; call it every second or so."""
        if self.held:
            return
        going = [job for job in jobs if not job.terminal]
        ended = f"{len(jobs) - len(going)} of {total} done" if total > 1 else ""
        oldest = min(going, key=lambda job: job.created_at, default=None)
        now = ""
        if oldest is not None:
            now = progress_words(oldest, max(0.0, time.time() - oldest.created_at), None)
        self._status.show("; ".join(part for part in (ended, now) if part) or "quoting")

    def close(self) -> None:
        """Take the line away."""
        self._status.clear()


def _priced(quote: dict[str, Any]) -> str:
    """Write a quote for a person."""
    if "credits" not in quote:
        return f"a price that is not known ({quote['basis']})"
    least = "at least " if quote["kind"] == "at_least" else ""
    return f"{least}{quote['credits']} credits ({quote['basis']})"
