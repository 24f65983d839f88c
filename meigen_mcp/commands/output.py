"""Printing: what others wrote moves no terminal, and what it cannot spell ends no command."""

import codecs
import logging
import shutil
import sys
from typing import Any

import click

from meigen_mcp.foreign import flat, printable

_HANDLER = "meigen_mcp.escape"


def print_anything() -> None:
    """Let nothing that is printed end a command: what cannot be spelled is escaped as in JSON.

    So JSON stays JSON, and a path stays one that can be told from others.
    """
    codecs.register_error(_HANDLER, escape)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # none where there is no console
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def say(text: str, *, err: bool = False) -> None:
    """Print a text, without characters that do more than be read."""
    click.echo(printable(text), err=err)


class StatusLine:
    """One line that says how it goes and replaces itself; a pipe and a file see nothing of it.

    Args:
        err: whether it stands on stderr.
    """

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._shown = 0

    def show(self, text: str) -> None:
        """Show a text in place of the last one, cut to what a terminal has in a line."""
        if not (sys.stderr if self._err else sys.stdout).isatty():
            return
        line = printable(text)[: shutil.get_terminal_size().columns - 1]
        # Blanks, and no sequence of the terminal: not every one knows those.
        click.echo(f"\r{line.ljust(self._shown)}", nl=False, err=self._err)
        self._shown = len(line)

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self._shown:
            click.echo(f"\r{' ' * self._shown}\r", nl=False, err=self._err)
            self._shown = 0


class PrintableGroup(click.Group):
    """Commands whose errors are printed like anything else."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except click.UsageError:
            raise  # it repeats what was typed
        except click.ClickException as error:
            raise click.ClickException(printable(error.message)) from None


class PrintableFormatter(logging.Formatter):
    """Writes a line of the log, with a traceback below it, without such characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return printable(super().format(record))


def log_to_stderr(level: str) -> None:
    """Write the log to stderr: stdout may carry MCP."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write characters as \uXXXX, in surrogate pairs where one is not enough."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


def spelled(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return an argument on one line, without bytes that are no text: no name of ours has them."""
    return value and flat(value.encode(errors="replace").decode())
