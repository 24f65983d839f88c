"""The command: run the rounds, and say what was lost."""

import itertools
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from meigen_mcp.commands.clients import CLIENTS

from .rounds import run


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--at-once", type=click.IntRange(1), default=24, show_default=True)
def main(rounds: int, at_once: int) -> None:
    """Let installers race for one file. The exit status is 0 if all of them are there."""
    said = there = 0
    odd: list[str] = []
    for client in itertools.islice(itertools.cycle(CLIENTS.values()), rounds):
        with TemporaryDirectory(prefix="meigen-installers-") as folder:
            found = run(client, at_once, Path(folder))
        said, there = said + found.said, there + found.there
        odd += [f"{client.title}: {one}" for one in found.odd]
        click.echo(f"{client.title}: {found.said} said that they are done, {found.there} are there")
    for one in odd:
        click.echo(one)
    click.echo(f"{rounds * at_once} installers: {said} said done, {there} of them are there")
    sys.exit(0 if not odd and said == there == rounds * at_once else 1)


if __name__ == "__main__":
    main()
