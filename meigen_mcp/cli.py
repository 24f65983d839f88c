"""The commands of `meigen-mcp`."""

import json
import logging
import os
import sys
from pathlib import Path

import anyio
import click

from meigen_mcp import __version__, settings


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="meigen-mcp")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make images and videos in chat with MeiGen. Without a command: serve over stdio."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


@main.command()
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox: no key, no credits.")
def serve(*, sandbox: bool = False) -> None:
    """Serve a chat client over stdin and stdout."""
    loaded = settings.load()
    # stdout carries MCP only.
    logging.basicConfig(
        level=loaded.log_level.upper(),
        stream=sys.stderr,
        format="%(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore"):  # they log whole URLs
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from meigen_mcp import app

    anyio.run(app.serve_stdio_on_sandbox if sandbox else app.serve_stdio, loaded)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), help="Where the media go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def demo(*, output: Path | None, as_json: bool) -> None:
    """Run the main job end to end on the embedded sandbox: no key, no credits."""
    from meigen_mcp import demo as demonstration

    problem = anyio.run(demonstration.run, output, as_json)
    if problem:
        click.echo(f"demo failed: {problem}", err=True)
        raise SystemExit(1)


@main.command()
@click.option("--port", default=8787, show_default=True, help="0 for any free one.")
@click.option("--speed", default=0.05, show_default=True, help="Factor on typical times.")
@click.option("--credits", "start", default=1000, show_default=True, help="Start balance.")
@click.option("--rate-limit", default=12, show_default=True, help="Submissions a minute.")
@click.option(
    "--era",
    type=click.Choice(["2026-05", "2026-09"]),
    default="2026-09",
    show_default=True,
    help="Generation of the API; 2026-05 knows no idempotency keys.",
)
def sandbox(*, port: int, speed: float, start: int, rate_limit: int, era: str) -> None:
    """Serve the API emulator alone, for any client of the MeiGen API."""
    from meigen_mcp.sandbox import running
    from meigen_mcp.sandbox.state import Options

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
    from meigen_mcp import model_views
    from meigen_mcp.catalogue import shipped

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
    details = model_views.model_details(model, catalogue, None)
    click.echo(json.dumps(details, indent=2, ensure_ascii=False))


if os.name == "nt":  # a console there may not show every character of a prompt
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
