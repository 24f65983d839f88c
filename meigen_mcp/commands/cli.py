"""The commands of `meigen-mcp`."""

import gc
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click
from click.core import ParameterSource

from meigen_mcp import settings
from meigen_mcp.commands import output
from meigen_mcp.commands.generating import MediumCommand, chosen
from meigen_mcp.commands.output import say
from meigen_mcp.commands.parameters import Name, in_named_sandbox
from meigen_mcp.commands.setup import doctor, install, settings_with_folder
from meigen_mcp.errors import MeigenError
from meigen_mcp.settings import Settings

if TYPE_CHECKING:
    from meigen_mcp.sandbox.models import Era


@click.group(
    cls=output.PrintableGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="meigen-mcp", prog_name="meigen-mcp")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make images and videos in chat with MeiGen. Without a command: serve over stdio."""
    output.print_anything()
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


@main.command()
@click.option(
    "--sandbox",
    is_flag=False,
    flag_value="",
    type=Name(optional=True),
    metavar="[NAME]",
    help="Use the embedded sandbox: no key, no credits; with a name one that remembers.",
)
@click.option("--http", "over_http", is_flag=True, help="Serve over Streamable HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for --http.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
    help="Port for --http; 0 for any free one.",
)  # fmt: skip
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="A further name that clients of --http may reach it under; may be given again.",
)
@click.option("--no-token", is_flag=True, help="Let everybody on this computer use --http.")
@click.option("--show-token", is_flag=True, help="Show on a terminal what clients of --http send.")
def serve(
    *,
    sandbox: str | None,
    over_http: bool,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    no_token: bool,
    show_token: bool,
) -> None:
    """Serve a chat client over stdin and stdout, or with --http any number over HTTP."""
    given = click.get_current_context().get_parameter_source
    names = ("host", "port", "allowed_hosts", "no_token")
    chosen = any(given(name) is ParameterSource.COMMANDLINE for name in names)
    if chosen and not over_http:
        raise click.UsageError("--host, --port, --allowed-host and --no-token need --http")
    if show_token and not sys.stdout.isatty():
        raise click.UsageError("--show-token shows a secret, so it needs a terminal")
    loaded = settings.load()
    # stdout carries MCP only.
    output.log_to_stderr(loaded.log_level)
    for noisy in ("httpx", "httpcore"):  # they log whole URLs
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if over_http or show_token:
        with _loaded_for_good():
            from meigen_mcp.transports import auth, http  # noqa: PLC0415  # it loads the SDK

        try:
            access = auth.access_for(
                loaded, host, allowed_hosts, sandbox=sandbox is not None, no_token=no_token
            )
            if show_token:
                say(access.token or "no token is asked for")
            if over_http:
                if sandbox is None:
                    _tell_of_kept_token(loaded)
                over = partial(http.serve, access=access, host=host, port=port)
                _run_server(over, loaded, sandbox=sandbox)
        except auth.CannotServe as problem:
            raise click.ClickException(str(problem)) from None
        return
    with _loaded_for_good():
        from meigen_mcp.transports import stdio  # noqa: PLC0415  # on first use: as above
    _run_server(stdio.serve, loaded, sandbox=sandbox)


def _tell_of_kept_token(loaded: Settings) -> None:
    from meigen_mcp.commands.tokens import kept_token_hint  # noqa: PLC0415  # over HTTP alone

    if hint := kept_token_hint(loaded):
        say(hint, err=True)


@contextmanager
def _loaded_for_good() -> Iterator[None]:
    """Load what stays: looking through it again and again finds no garbage, and takes its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(10_000)  # after 700, as usual, is tens of times a call, and 3 % of it
        gc.enable()


def _run_server(
    serving: Callable[[Settings], Awaitable[None]], loaded: Settings, *, sandbox: str | None
) -> None:
    """Run a transport, on the embedded sandbox if that is wished."""

    async def run() -> None:
        async with chosen(loaded, sandbox) as loaded_so:
            await serving(loaded_so)

    try:
        anyio.run(run)
    except MeigenError as error:
        raise click.ClickException(error.message) from None


@main.command()
@click.option("--output", type=click.Path(path_type=Path), help="Where the media go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def demo(*, output: Path | None, as_json: bool) -> None:
    """Run the main job end to end on the embedded sandbox: no key, no credits."""
    from meigen_mcp.commands import demo as demonstration  # noqa: PLC0415  # on first use: as above

    problem = anyio.run(demonstration.run, output, as_json)
    if problem:
        say(f"demo failed: {problem}", err=True)
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
    "--api",
    "--era",
    "era",
    type=click.Choice(["2026-05", "2026-09", "2026-11"]),
    default="2026-09",
    show_default=True,
    help="Generation of the API; 2026-05 knows no idempotency keys, 2026-11 all of today's inputs.",
)
def sandbox(*, port: int, speed: float, start: int, rate_limit: int, era: "Era") -> None:
    """Serve the API emulator alone, for any client of the MeiGen API."""
    from meigen_mcp.sandbox import running  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.sandbox.state import Options  # noqa: PLC0415  # on first use: as above

    options = Options(
        speed=speed,
        credits=start,
        rate_limit=rate_limit,
        era=era,
    )
    try:
        running.serve(port, options, _announce)
    except OSError:
        raise click.ClickException(f"port {port} is taken; choose another with --port") from None


def _announce(origin: str) -> None:
    say(f"MeiGen sandbox on {origin} (nothing here is real; see {origin}/)")
    say(f"MEIGEN_BASE_URL={origin}")
    say(f"MEIGEN_UPLOAD_URL={origin}")
    say(f"MEIGEN_API_TOKEN=meigen_sk_{'sandbox0' * 4}")
    say(f"what it saw: {origin}/sandbox/state")
    say("what is spent here counts in your ledger, unless MEIGEN_DATA_DIR names another folder")


@main.command()
@click.argument("model_id", required=False, callback=output.spelled)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def models(*, model_id: str | None, as_json: bool) -> None:
    """Show the models with rules and prices, as shipped with this version."""
    from meigen_mcp.catalogue.models import shipped  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.views import models as model_views  # noqa: PLC0415  # on first use: as above

    catalogue = shipped()
    if model_id is None:
        models = catalogue.listed()
        rows = [model_views.model_row(model) for model in models]
        say(json.dumps(rows, indent=2) if as_json else model_views.models_text(models))
        return
    model = catalogue.find(model_id)
    if model is None:
        guess = catalogue.guess(model_id)
        hint = f"; did you mean {guess.id}?" if guess else ""
        raise click.ClickException(f"there is no model {model_id}{hint}")
    details = model_views.model_details(model, catalogue, settings.load().accepts)
    if as_json:
        say(json.dumps(details, indent=2, ensure_ascii=False))
        return
    say(model_views.details_lines(details))
    say("In a terminal aspectRatio is --aspect-ratio, and so on. --json says all, for programs.")


@main.command()
@click.argument("name", metavar="[ID]", required=False, callback=output.spelled)
@click.option("--fetch", is_flag=True, help="Download its media again.")
@click.option(
    "--settle",
    type=click.Choice(["charged", "not-charged"]),
    is_flag=False,
    flag_value="not-charged",
    help="End an unknown one after you looked on meigen.ai whether it was charged.",
)
@click.option("--call-off", is_flag=True, help="End one that is still queued, uncharged.")
@click.option("--forget", is_flag=True, help="Take what was asked for out of the ledger.")
@click.option("--older-than", type=click.FloatRange(0), metavar="DAYS",
              help="With --forget: all that ended before.")  # fmt: skip
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--person", metavar="WHO", help="Whose it is, where people sign in.")
@in_named_sandbox
def jobs(
    *,
    name: str | None,
    fetch: bool,
    settle: str | None,
    call_off: bool,
    forget: bool,
    older_than: float | None,
    limit: int,
    person: str | None,
    sandbox: str | None,
) -> None:
    """See what was made, over all chats; with an ID, or six characters that it begins with, one.

    It only reads: what is under way is looked at while the server of a chat client runs, or a
    command that makes something.

    What is queued can be called off; what runs cannot, since MeiGen knows no way to stop it.
    """
    from meigen_mcp.commands import jobs as ledger_jobs  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.commands.clients import Machine  # noqa: PLC0415  # on first use: as above
    from meigen_mcp.commands.config_file import ConfigurationRefused  # noqa: PLC0415  # as above

    wanted = sum(map(bool, (fetch, settle, call_off, forget)))
    several = older_than is not None
    if wanted > 1 or several > forget or (wanted and (name is None) is not several):
        use = (
            "--fetch, --settle, --call-off or --forget goes with one ID, or --forget with"
            " --older-than and none"
        )
        raise click.UsageError(use)
    machine = None
    with suppress(ConfigurationRefused):
        machine = Machine.this()
    loaded = _settings_of(sandbox)

    async def run() -> str:
        async with chosen(loaded, sandbox) as loaded_so:
            return await ledger_jobs.run(
                loaded_so,
                name,
                machine=machine if sandbox is None else None,
                fetch_again=fetch,
                outcome=settle,
                call_off=call_off,
                older_than=older_than,
                forget_one=forget,
                limit=limit,
                who=person,
            )

    try:
        text = anyio.run(run)
    except MeigenError as error:
        raise click.ClickException(error.message) from None
    say(text)


def _settings_of(sandbox: str | None) -> Settings:
    """Read the settings for a command that looks into a ledger: MeiGen's, or a sandbox's."""
    from meigen_mcp.app import sandbox_folder  # noqa: PLC0415  # on first use: as above

    loaded = settings_with_folder()
    if sandbox is not None and not sandbox_folder(loaded, sandbox).is_dir():
        raise click.ClickException(f"there is no sandbox {sandbox}")
    return loaded


@main.command()
@click.argument("request_id", metavar="REQUESTID", callback=output.spelled)
@in_named_sandbox
@click.option("--person", metavar="WHO", help="Whose call it is, where people sign in.")
def approve(*, request_id: str, sandbox: str | None, person: str | None) -> None:
    """Say yes to a call that needs your approval: it runs once, within its hour and your caps."""
    from meigen_mcp.commands import approve as approving  # noqa: PLC0415  # on first use: as above

    loaded = _settings_of(sandbox)

    async def run() -> str:
        async with chosen(loaded, sandbox) as loaded_so:
            return await approving.run(loaded_so, request_id, person)

    try:
        text = anyio.run(run)
    except MeigenError as error:
        raise click.ClickException(error.message) from None
    say(text)


@main.group(invoke_without_command=True)
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, with whole ids.")
@click.pass_context
def team(ctx: click.Context, *, as_csv: bool) -> None:
    """See who signs in to a server, what each spent and may spend."""
    if ctx.invoked_subcommand is None:
        from meigen_mcp.commands import team as people  # noqa: PLC0415  # on first use: as above

        _say_of_team(partial(people.listed, as_csv=as_csv))


@team.command()
@click.argument("who", callback=output.spelled)
@click.option("--day", metavar="CREDITS", help="The most in 24 hours, or none.")
@click.option("--month", metavar="CREDITS", help="The most in 30 days, or none.")
def cap(*, who: str, day: str | None, month: str | None) -> None:
    """Set the caps of a person, of `each` who has none of their own, or of the `team`."""
    from meigen_mcp.commands import team as people  # noqa: PLC0415  # on first use: as above

    if day is None and month is None:
        raise click.UsageError("give --day, --month or both")
    _say_of_team(partial(people.cap, who=who, day=day, month=month))


@team.command()
@click.argument("person", callback=output.spelled)
def forget(*, person: str) -> None:
    """Forget who somebody was and what they asked for; what it cost stays."""
    from meigen_mcp.commands import team as people  # noqa: PLC0415  # on first use: as above

    _say_of_team(partial(people.forget, who=person))


def _say_of_team(wanted: Callable[[Settings], Awaitable[str]]) -> None:
    try:
        text = anyio.run(wanted, settings_with_folder())
    except MeigenError as error:
        raise click.ClickException(error.message) from None
    say(text)


for command in (MediumCommand("image"), MediumCommand("video"), install, doctor):
    main.add_command(command)
