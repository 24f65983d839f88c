"""What is known of the chat clients: the one list, in `known_clients.toml`.

The server fits its answers to the client that asks by it, and the pages and the installer say the
same to people.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

RUNS = ("list", "image", "video", "wait", "refusal", "cancel")
"""What is done in a client that is tried; docs/clients.md says what each of them is."""


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A chat client; an empty fact was not measured.

    Attributes:
        names: what it says as `clientInfo.name`.
        version: the release that was run.
        checked: the day of that.
        protocol: what it speaks over stdio.
        sees: what of an answer reaches the model.
        viewer: whether it shows the viewer, as its makers write.
        form: whether it can ask the person.
        empty_form: it was seen to put a form without fields before its person.
        links: `media` where links to the media are of use; elsewhere they double the text, or end
            the run.
        tasks: whether it declares the tasks extension.
        wait: seconds that a call may take there; where nobody measured it, what all survive that
            were.
        wait_in_silence: the same for a call without progress, where that differs.
        ran: in what way it was run, and how far: of `RUNS`.
    """

    title: str
    names: tuple[str, ...] = ()
    version: str = ""
    checked: date | None = None
    protocol: str = ""
    sees: str = ""
    viewer: bool = False
    form: str = ""
    empty_form: bool = False
    links: str = ""
    tasks: str = ""
    wait: float = 40
    wait_in_silence: float | None = None
    note: str = ""
    ran: Mapping[str, str] = field(default_factory=dict)

    @property
    def shows(self) -> str:
        """What the person sees of a result there, in a sentence or two."""
        linked = "links and file paths in the model's answer, the preview in the tool's block."
        asks = self.form.startswith("yes")
        return (
            ("The viewer, and the " if self.viewer else "The ")
            + linked
            + (" Before much is spent it can ask you in a form." if asks else "")
        )


@cache
def known_clients() -> Mapping[str, KnownClient]:
    """Return the clients by their id."""
    path = Path(__file__).with_suffix(".toml")
    return {
        name: KnownClient(**{**entry, "names": tuple(entry.get("names", ()))})
        for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items()
    }
