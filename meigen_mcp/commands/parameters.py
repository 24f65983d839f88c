"""What an argument of a command may be, where click has no word for it."""

import re
from difflib import get_close_matches

import click

from meigen_mcp.wording import listed


class ClientId(click.ParamType):  # type: ignore[type-arg]  # not generic in every click
    """The id of a client; the list of them is read when it is needed."""

    name = "client"

    def _ids(self) -> list[str]:
        from meigen_mcp.commands.clients import CLIENTS  # noqa: PLC0415  # when it is needed

        return list(CLIENTS)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what stands for it in a usage line."""
        del param, ctx
        return f"{{{'|'.join(self._ids())}}}"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, if there is such a client; a mistake is told the ids that are near it."""
        del param
        if value in (ids := self._ids()):
            return value
        near = [name for name in ids if value and value.lower() in name]
        near = near or get_close_matches(value.lower(), ids, 1)
        fix = f"did you mean {listed(near)}?" if near else f"use {listed(ids)}"
        raise click.UsageError(f"there is no client {value}; {fix}", ctx)


class Name(click.ParamType):  # type: ignore[type-arg]  # as above
    """A name of the person's own choice, which becomes a key or a folder.

    Args:
        optional: an empty one stands for none.
    """

    name = "name"

    def __init__(self, *, optional: bool = False) -> None:
        self._optional = optional

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, if it can be one."""
        none = self._optional and not value
        if not none and not re.fullmatch(r"[\w-]{1,32}", value, re.ASCII):
            prompt = (
                f"; {value!r} is no name: a prompt stands before --sandbox" if " " in value else ""
            )
            self.fail(f"letters, digits, - and _ only, at most 32{prompt}", param, ctx)
        return value


def _named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        wrong = "say which: what one without a name made was gone when it ended"
        raise click.BadParameter(wrong, ctx, param)
    return value


in_named_sandbox = click.option(
    "--sandbox",
    is_flag=False,
    flag_value="",  # whoever made something with --sandbox alone looks for it like that
    type=Name(optional=True),
    callback=_named,
    metavar="NAME",
    help="In a sandbox with a name.",
)


class Address(click.ParamType):  # type: ignore[type-arg]  # as above
    """The address of a server, as clients write it."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, if it is one of the web without a secret in it; /mcp where it has no path."""
        found = re.fullmatch(r"(https?://[^\s/?#@\"'\\]+)([/?#][^\s@\"'\\]*)?", value, re.ASCII)
        if not found:
            self.fail("write it as http://127.0.0.1:8765/mcp or https://NAME/mcp", param, ctx)
        origin, rest = found[1], found[2] or ""
        if rest.startswith("/") and rest != "/":
            return value
        return f"{origin}/mcp{rest.removeprefix('/')}"
