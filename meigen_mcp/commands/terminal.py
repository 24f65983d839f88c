"""The person at the terminal in which a command runs, or nobody."""

import sys
from collections.abc import Sequence

import click

from meigen_mcp import settings
from meigen_mcp.commands.output import say
from meigen_mcp.commands.project_entry import Foreign

ASKED = "Token from meigen.ai: your picture, Settings, API Keys (not shown)"
NOTHING = "Nothing was typed. Paste the token (Enter adds it later, with --new-token)"
NOT_ONE = "That is no token: meigen_sk_ and 32 characters. Paste it again (Enter: none)"

NOT_GIVEN = "what was given is no token: meigen_sk_ and 32 characters; nothing was changed"
NOBODY = (
    "no token, and nobody to ask: pipe it in, give --token-file FILE, or call in a terminal;"
    " --sandbox needs none"
)


class Terminal:
    """Answers the questions of an installation."""

    def token(self) -> str:
        """Return the token that is typed, or the first line of what comes by a pipe.

        At a terminal nothing, and what is no token, is asked about once more; by a pipe comes one
        or nothing.
        """
        if not sys.stdin.isatty():
            if not (line := sys.stdin.readline()):
                raise click.ClickException(NOBODY)
            if (given := line.strip()) and not settings.TOKEN_SHAPE.fullmatch(given):
                raise click.ClickException(NOT_GIVEN)
            return given
        if not settings.TOKEN_SHAPE.fullmatch(given := self._typed(ASKED)):
            again = NOT_ONE if given else NOTHING
            given = self._typed(again)
        if given and not settings.TOKEN_SHAPE.fullmatch(given):
            raise click.ClickException(NOT_GIVEN)
        return given

    @staticmethod
    def _typed(question: str) -> str:
        shown = click.prompt(question, hide_input=True, default="", show_default=False)
        return str(shown).strip()

    def agrees(self, foreign: Sequence[Foreign]) -> bool:
        """Say whether a yes is typed to what a project brought; nobody says no."""
        if not sys.stdin.isatty():
            return False
        say("The project's file says this, and anybody may have written it:")
        for one in foreign:
            say(f"  {one}")
        question = "Type yes to keep it; anything else leaves it out"
        return str(click.prompt(question, default="no", show_default=False)).strip() == "yes"
