"""The command: go to every place, and say what each command came to."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click
from chaos.report import filled, machine

from .commands import COMMANDS, as_row, visit
from .places import PLACES


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    help="A page whose table to make anew, such as docs/environments.md.",
)
def main(names: tuple[str, ...], *, write: Path | None) -> None:
    """Run every command in every place. The exit status is 0 if none broke."""
    rows = [f"| where | {' | '.join(COMMANDS)} |", f"|{'---|' * (len(COMMANDS) + 1)}"]
    broken = False
    for place in PLACES:
        if names and place.name not in names:
            continue
        missing, cells = place.needs(), None
        if missing is None:
            with TemporaryDirectory(prefix="meigen-place-") as folder:
                cells = anyio.run(visit, place, Path(folder))
            broken = broken or any(cell.broken for cell in cells.values())
        rows.append(as_row(place, cells, missing))
        click.echo(rows[-1])
    if write is not None:
        table = "\n".join([*rows, "", f"Run on {machine()}."])
        page = filled(write.read_text(encoding="utf-8"), "environments", table)
        write.write_text(page, encoding="utf-8")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
