"""The commands of `meigen-mcp`."""

import gc
import json
import logging
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import click
from click.core import ParameterSource

from meigen_mcp import settings


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="meigen-mcp", prog_name="meigen-mcp")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make images and videos in chat with MeiGen. Without a command: serve over stdio."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


@main.command()
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox: no key, no credits.")
@click.option("--http", "over_http", is_flag=True, help="Serve over Streamable HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for --http.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port for --http; 0 for any free one.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="A further name that clients of --http may reach it under; may be given again.",
)
def serve(
    *, sandbox: bool, over_http: bool, host: str, port: int, allowed_hosts: tuple[str, ...]
) -> None:
    """Serve a chat client over stdin and stdout, or with --http any number over HTTP."""
    given = click.get_current_context().get_parameter_source
    chosen = any(
        given(name) is ParameterSource.COMMANDLINE for name in ("host", "port", "allowed_hosts")
    )
    if chosen and not over_http:
        raise click.UsageError("--host, --port and --allowed-host need --http")
    loaded = settings.load()
    # stdout carries MCP only.
    logging.basicConfig(
        level=loaded.log_level.upper(),
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore"):  # they log whole URLs
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if over_http:
        from meigen_mcp import http  # noqa: PLC0415  # on first use: it loads the SDK

        todo = http.serve_on_sandbox if sandbox else http.serve
        try:
            anyio.run(todo, loaded, host, port, allowed_hosts)
        except http.Refused as problem:
            raise click.ClickException(str(problem)) from None
        return
    # What is loaded now stays: looking through it again and again finds no garbage.
    gc.disable()
    from meigen_mcp import stdio  # noqa: PLC0415  # on first use: as above

    gc.freeze()
    gc.enable()
    anyio.run(stdio.serve_on_sandbox if sandbox else stdio.serve, loaded)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), help="Where the media go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def demo(*, output: Path | None, as_json: bool) -> None:
    """Run the main job end to end on the embedded sandbox: no key, no credits."""
    from meigen_mcp import demo as demonstration  # noqa: PLC0415  # on first use: as above

    problem = anyio.run(demonstration.run, output, as_json)
    if problem:
        click.echo(f"demo failed: {problem}", err=True)
        raise SystemExit(1)


@main.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="0 for any free one.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0),
    default=0.05,
    show_default=True,
    help="Factor on typical times.",
)
@click.option(
    "--credits",
    "start",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Start balance.",
)
@click.option(
    "--rate-limit",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="Submissions a minute.",
)
@click.option(
    "--era",
    type=click.Choice(["2026-05", "2026-09"]),
    default="2026-09",
    show_default=True,
    help="Generation of the API; 2026-05 knows no idempotency keys.",
)
def sandbox(*, port: int, speed: float, start: int, rate_limit: int, era: str) -> None:
    """Serve the API emulator alone, for any client of the MeiGen API."""
    from meigen_mcp.sandbox import running  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.sandbox.state import Options  # noqa: PLC0415  # on first use: as above

    options = Options(
        speed=speed,
        credits=start,
        rate_limit=rate_limit,
        era="2026-05" if era == "2026-05" else "2026-09",
    )
    try:
        running.serve(port, options, _announce)
    except OSError:
        raise click.ClickException(f"port {port} is taken; choose another with --port") from None


def _announce(origin: str) -> None:
    click.echo(f"MeiGen sandbox on {origin} (nothing here is real; see {origin}/)")
    click.echo(f"MEIGEN_BASE_URL={origin}")
    click.echo(f"MEIGEN_UPLOAD_URL={origin}")
    click.echo("MEIGEN_API_TOKEN=<meigen_sk_ and any 32 letters or digits>")
    click.echo(f"what it saw: {origin}/sandbox/state")


@main.command()
@click.argument("model_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def models(*, model_id: str | None, as_json: bool) -> None:
    """Show the models with rules and prices, as shipped with this version."""
    from meigen_mcp import model_views  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.catalogue import shipped  # noqa: PLC0415  # on first use: as above

    catalogue = shipped()
    if model_id is None:
        rows = [model_views.model_row(model) for model in catalogue.listed()]
        click.echo(json.dumps(rows, indent=2) if as_json else model_views.models_text(rows))
        return
    model = catalogue.find(model_id)
    if model is None:
        guess = catalogue.guess(model_id)
        hint = f"; did you mean {guess.id}?" if guess else ""
        raise click.ClickException(f"there is no model {model_id}{hint}")
    details = model_views.model_details(model, catalogue, settings.load().accepts)
    click.echo(json.dumps(details, indent=2, ensure_ascii=False))


@main.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--fetch", is_flag=True, help="Download its media again.")
@click.option(
    "--settle",
    type=click.Choice(["charged", "not-charged"]),
    is_flag=False,
    flag_value="not-charged",
    help="End an unknown one after you looked on meigen.ai whether it was charged.",
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
def jobs(*, name: str | None, fetch: bool, settle: str | None, limit: int) -> None:
    """See the generations of the account; with an ID, one whole."""
    from meigen_mcp import jobs as ledger_jobs  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.errors import MeigenError  # noqa: PLC0415  # on first use: as above

    if (fetch or settle) and (name is None or (fetch and settle)):
        raise click.UsageError("--fetch or --settle goes with one ID")
    try:
        todo = partial(
            ledger_jobs.run,
            settings.load(),
            name,
            fetch_again=fetch,
            outcome=settle,
            limit=limit,
        )
        text = anyio.run(todo)
    except MeigenError as error:
        raise click.ClickException(error.message) from None
    click.echo(text)


@main.command()
@click.argument(
    "client",
    type=click.Choice(
        [
            "claude-desktop",
            "claude-code",
            "cursor",
            "vscode",
            "windsurf",
            "codex",
            "gemini",
            "opencode",
        ]
    ),
)
@click.option(
    "--scope",
    type=click.Choice(["user", "project"]),
    default="user",
    show_default=True,
    help="For you everywhere, or for the project in this folder.",
)
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox: no key, no credits.")
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
@click.option("--name", default="meigen", show_default=True, help="The server's name there.")
@click.option("--dry-run", is_flag=True, help="Show the change, do nothing.")
@click.option("--remove", is_flag=True, help="Take the server out again.")
@click.option("--print", "show", is_flag=True, help="Print what to add by hand, do nothing.")
def install(
    *,
    client: str,
    scope: str,
    sandbox: bool,
    token_file: Path | None,
    new_token: bool,
    reference_dirs: tuple[Path, ...],
    name: str,
    dry_run: bool,
    remove: bool,
    show: bool,
) -> None:
    """Add the server to a chat client's configuration; the token stays out of it."""
    from meigen_mcp import install as installing  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.clients import CLIENTS, Machine  # noqa: PLC0415  # on first use: as above

    if not re.fullmatch(r"[\w-]{1,32}", name, re.ASCII):
        raise click.BadParameter("letters, digits, - and _ only", param_hint="--name")
    loaded, chosen = settings.load(), CLIENTS[client]
    kept = installing.token_path(loaded.data_dir)
    where: Literal["user", "project"] = "project" if scope == "project" else "user"

    def token(*, named: bool) -> Path | None:
        """Return the file to name in the entry; None names none, or leaves the one it names."""
        if sandbox or token_file is not None:
            return token_file
        if (show or dry_run) and not named:
            return kept
        if not new_token and (named or kept.is_file()):
            return None if named else kept
        given = loaded.token or _asked_for_token()
        return installing.keep_token(loaded.data_dir, given) if given else None

    if show:
        wanted = installing.launch(token(named=False), reference_dirs, sandbox=sandbox)
        click.echo(f"{chosen.title}: {chosen.path(Machine.this(), where)}", err=True)
        click.echo(chosen.snippet(name, chosen.entry(wanted)))
        return
    try:
        machine = Machine.this()
        on = installing.target(chosen, machine, where, name)
        change = installing.plan(
            on,
            None
            if remove
            else installing.launch(token(named=on.has_token), reference_dirs, sandbox=sandbox),
        )
        if dry_run:
            click.echo(change.about if change.nothing else change.shown().rstrip())
            return
        click.echo(installing.apply(change, machine))
    except installing.Refused as problem:
        raise click.ClickException(str(problem)) from None
    if remove and kept.is_file():
        click.echo(f"The token stays in {kept}; delete it when no client needs it.")
    raise SystemExit(1 if change.by_hand else 0)  # by hand it is not done yet


def _asked_for_token() -> str:
    if sys.stdin.isatty():
        question = "Token from meigen.ai (not shown; Enter to add it later)"
        given = str(click.prompt(question, hide_input=True, default="", show_default=False))
    elif not (given := sys.stdin.readline()):
        raise click.ClickException(
            "no token: give --token-file or --sandbox, or call in a terminal"
        )
    given = given.strip()
    if given and not settings.TOKEN_SHAPE.fullmatch(given):
        click.echo("A token is meigen_sk_ and 32 characters; this is none, but kept.", err=True)
    return given


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--reset-ledger", is_flag=True, help="Begin a new ledger if the old one is damaged.")
def doctor(*, as_json: bool, reset_ledger: bool) -> None:
    """Say what is set, what works and what to mend; nothing is spent. Exit status 0 or 1."""
    from meigen_mcp import doctor as examining  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.clients import Machine  # noqa: PLC0415  # on first use: as above

    if reset_ledger:
        finding = examining.reset_ledger(settings.load())
        findings = [finding]
    else:
        findings = anyio.run(examining.examine, Machine.this())
    click.echo(examining.as_json(findings) if as_json else examining.as_text(findings))
    raise SystemExit(1 if any(finding.fix for finding in findings) else 0)


if os.name == "nt":  # a console there may not show every character of a prompt
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
