"""The commands that set a client up, and say whether everything works."""

import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from meigen_mcp import settings
from meigen_mcp.commands.output import say
from meigen_mcp.commands.parameters import Address, ClientId, Name
from meigen_mcp.foreign import flat
from meigen_mcp.settings import Settings

if TYPE_CHECKING:
    from meigen_mcp.commands.clients import Machine
    from meigen_mcp.commands.install import Request, Result


def settings_with_folder() -> Settings:
    """Read the settings for a command that looks into the data folder, if that is known."""
    loaded = settings.load()
    for problem in loaded.problems:
        if problem.field == "MEIGEN_DATA_DIR":
            raise click.ClickException(f"{problem}.")
    return loaded


@click.command()
@click.argument("client", type=ClientId(), required=False)
@click.option(
    "--scope",
    type=click.Choice(["user", "project"]),
    default="user",
    show_default=True,
    help="For you everywhere, or for the project in this folder.",
)
@click.option(
    "--sandbox",
    is_flag=False,
    flag_value="",
    type=Name(optional=True),
    metavar="[NAME]",
    help="Use the embedded sandbox: no key, no credits; with a name one that remembers.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that holds the token; without it you are asked, once.",
)
@click.option("--new-token", is_flag=True, help="Ask for the token again.")
@click.option(
    "--reference-dir",
    "reference_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A folder that local references may come from; may be given again.",
)
@click.option(
    "--name", type=Name(), default="meigen", show_default=True, help="The server's name there."
)
@click.option(
    "--url",
    type=Address(),
    help="Print what to add by hand for a server at this address; the token stays out of it."
    " Without a path it means /mcp.",
)
@click.option(
    "--no-token",
    is_flag=True,
    help="With --url: that server asks for no token, or has people sign in.",
)
@click.option("--dry-run", is_flag=True, help="Show the change, do nothing.")
@click.option("--remove", is_flag=True, help="Take the server out again.")
@click.option("--print", "show", is_flag=True, help="Print what to add by hand, do nothing.")
def install(
    *,
    client: str | None,
    scope: str,
    sandbox: str | None,
    token_file: Path | None,
    new_token: bool,
    reference_dirs: tuple[Path, ...],
    name: str,
    url: str | None,
    no_token: bool,
    dry_run: bool,
    remove: bool,
    show: bool,
) -> None:
    """Add the server to a chat client's configuration; the token stays out of it."""
    from meigen_mcp.commands import install as installing  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.commands.clients import CLIENTS, TOKEN_OF_URL, Machine  # noqa: PLC0415  # as above
    from meigen_mcp.commands.config_file import ConfigurationRefused  # noqa: PLC0415  # as above
    from meigen_mcp.commands.terminal import Terminal  # noqa: PLC0415  # on first use: as above

    if client is None and sandbox in CLIENTS:
        client, sandbox = sandbox, ""  # it stands behind the option, which takes it for a name
    if client is None:
        taken = f"; {sandbox} was taken for the name of a sandbox" if sandbox else ""
        raise click.UsageError(f"name a client: {', '.join(CLIENTS)}{taken}")
    in_sandbox = sandbox is not None
    here = in_sandbox or token_file or new_token or reference_dirs or remove
    if here if url else no_token:
        use = "--url goes with --scope, --name and --no-token only, and --no-token with --url only"
        raise click.UsageError(use)
    if new_token and (in_sandbox or token_file or remove):
        raise click.UsageError("--new-token goes without --sandbox, --token-file and --remove")
    loaded = settings.load()
    request = installing.Request(
        CLIENTS[client],
        "project" if scope == "project" else "user",
        name,
        remove=remove,
        sandbox=sandbox,
        token_file=token_file,
        new_token=new_token,
        reference_dirs=reference_dirs,
    )
    try:
        machine = Machine.this()
        where = flat(f"{request.client.title}: {request.client.path(machine, request.scope)}")
        if url:
            said = request.client.remote_snippet(name, url, token=not no_token)
            say(where if no_token else f"{where}\n{TOKEN_OF_URL}", err=True)
            say(said)
            return
        if show:
            say(where, err=True)
            _say_snippet(request, loaded)
            return
        if dry_run:
            say(installing.preview(request, loaded, machine))
            return
        result = installing.run(request, loaded, machine, Terminal())
    except ConfigurationRefused as problem:
        raise click.ClickException(str(problem)) from None
    say(result.text)
    for line in _of_the_token(request, result, loaded, machine):
        say(line)
    raise SystemExit(0 if result.done else 1)  # by hand it is not done yet


def _say_snippet(request: "Request", loaded: Settings) -> None:
    from meigen_mcp.commands import install as installing  # noqa: PLC0415  # on first use: as above

    if missing := installing.missing_token_file(request, loaded):
        say(flat(f"{missing} is to hold your token, and is not there yet."), err=True)
    say(installing.snippet(request, loaded))


def _of_the_token(
    request: "Request", result: "Result", loaded: Settings, machine: "Machine"
) -> Iterator[str]:
    """Say what became of the token, whose it is not, and what is wrong with it."""
    from meigen_mcp.commands import installed, tokens  # noqa: PLC0415  # on first use: as above

    kept = tokens.token_path(loaded.data_dir)
    if request.remove:
        if tokens.has_kept_token(loaded.data_dir):
            yield f"The token stays in {kept}; delete it when no client needs it."
        return
    if request.token_file is not None:
        yield from tokens.token_problems(request.token_file.absolute())
    elif request.new_token and result.token is None:
        yield "No token was typed; the one before stays."
    elif request.new_token:
        yield "The new token is that of every client that was set up here. Restart those that run."
        for name, place in installed.others_own(installed.found(machine), kept).items():
            yield (
                f"Not of {name}, which has a token of its own ({place}); to give it this one:"
                f" `meigen-mcp install {name} --token-file {shlex.quote(str(kept))}`"
            )
    elif result.source in (tokens.Token.AS_IT_IS, tokens.Token.KEPT_FILE):
        yield f"Its token is in {result.own or kept}. For another one: --new-token."
    elif result.token is not None and loaded.token is not None:
        yield f"Its token is the one that this terminal has set; it is kept in {kept}."
    elif result.token is not None:
        yield f"Its token is kept in {kept}."


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--reset-ledger", is_flag=True, help="Begin a new ledger if the old one is damaged.")
def doctor(*, as_json: bool, reset_ledger: bool) -> None:
    """Say what is set, what works and what to mend; nothing is spent. Exit status 0 or 1."""
    from meigen_mcp.commands import doctor as examining  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.commands import findings as written  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.commands.clients import Machine  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.commands.config_file import ConfigurationRefused  # noqa: PLC0415  # as above

    if reset_ledger:
        finding = anyio.run(examining.reset_ledger, settings_with_folder())
        findings = [finding]
    else:
        machine = None
        with suppress(ConfigurationRefused):
            machine = Machine.this()
        findings = anyio.run(examining.examine, machine)
    say(written.as_json(findings) if as_json else written.as_text(findings))
    raise SystemExit(1 if any(finding.fix for finding in findings) else 0)
