"""Adding this server to a chat client's configuration, and taking it out again.

Only our own entry is ever touched. The token is never written there, nor on any command line: it
goes into a private file of the data folder, which the entry names.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from meigen_mcp.commands.change import Change, Programs, plan
from meigen_mcp.commands.clients import Client, Machine, Scope
from meigen_mcp.commands.config_file import ConfigurationRefused, keep_copy
from meigen_mcp.commands.configuration import Target, look
from meigen_mcp.commands.installed import found
from meigen_mcp.commands.launch import TOKEN, TOKEN_FILE, Launch, launch, own_place
from meigen_mcp.commands.project_entry import CAPS, Foreign, Terms
from meigen_mcp.commands.tokens import (
    Token,
    has_kept_token,
    keep_token,
    token_here,
    token_path,
    token_source,
    unwritable,
)
from meigen_mcp.foreign import flat
from meigen_mcp.settings import Settings
from meigen_mcp.system import alone, private_folder
from meigen_mcp.variables import read_credits

MOST_TRIES = 20
"""How often a change is planned anew because the file was changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        text: for the person.
        done: nothing is left for the person to do by hand.
        nothing: the configuration was as it should be.
        source: where the entry's token comes from.
        token: where a token is kept now that was given just then.
        own: where the entry's token is, if it is not the one that is kept here.
    """

    text: str
    done: bool
    nothing: bool = False
    source: Token = Token.NONE
    token: Path | None = None
    own: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for.

    Attributes:
        name: the server's name in the configuration.
        remove: take it out; the rest then plays no part.
        sandbox: start it on the embedded sandbox, with this name or, if it is empty, with none.
        token_file: a file of the person's own that holds the token.
        new_token: ask for the token although there is one.
        reference_dirs: folders that local references may come from.
    """

    client: Client
    scope: Scope = "user"
    name: str = "meigen"
    remove: bool = False
    sandbox: str | None = None
    token_file: Path | None = None
    new_token: bool = False
    reference_dirs: Sequence[Path] = ()

    def launch(self, token_file: Path | None) -> Launch:
        """Return how the client is to start the server."""
        return launch(token_file, self.reference_dirs, sandbox=self.sandbox)


class Installer(Protocol):
    """The person who installs."""

    def token(self) -> str:
        """Return the token that the person types, or nothing."""
        ...

    def agrees(self, foreign: Sequence[Foreign]) -> bool:
        """Say whether the person wants to keep what a project brought."""
        ...


def run(
    request: Request,
    loaded: Settings,
    machine: Machine,
    person: Installer,
    programs: Programs | None = None,
) -> Result:
    """Do what was asked for; all questions come before the file is read for its change.

    Raises:
        ConfigurationRefused: it could not be done.
    """
    _refuse_bad_folder(loaded)
    on = look(request.client, machine, request.scope, request.name)
    terms = _terms(request, machine, loaded)
    wanted = kept = own = None
    source = Token.NONE
    if not request.remove:
        foreign = on.kept(terms).left_out
        if foreign and person.agrees(foreign):
            terms = replace(terms, agreed=frozenset(foreign))
        named = on.names_token(terms)
        source = _source(request, loaded, named=named)  # before one is kept
        file = _token_file(request, loaded, person, source)
        kept = file if source is Token.ASK else None
        own = own_place(on.kept(terms).variables, token_path(loaded.data_dir)) if named else None
        wanted = request.launch(file)
    result = carry_out(
        on, wanted, terms, machine=machine, data_dir=loaded.data_dir, programs=programs
    )
    return replace(result, source=source, token=kept, own=own)


def preview(
    request: Request, loaded: Settings, machine: Machine, programs: Programs | None = None
) -> str:
    """Return what would be done, without a question and without a neighbour's secrets.

    Raises:
        ConfigurationRefused: it could not be done.
    """
    _refuse_bad_folder(loaded)
    on = look(request.client, machine, request.scope, request.name)
    terms = _terms(request, machine, loaded)
    named = on.names_token(terms)
    likely = _likely_token_file(request, loaded, named=named)
    wanted = None if request.remove else request.launch(likely)
    change = plan(on, wanted, terms, programs or Programs())
    asks = not request.remove and _source(request, loaded, named=named) is Token.ASK
    here = None if request.new_token else token_here(loaded)
    asked = ["It will ask for your token."] if asks and here is None else []
    if change.nothing:
        return "\n".join((change.about, *asked))
    return "\n".join((change.shown(), *change.notes, *asked))


def snippet(request: Request, loaded: Settings) -> str:
    """Return what a person would add by hand."""
    wanted = request.launch(_likely_token_file(request, loaded))
    return request.client.snippet(request.name, request.client.entry(wanted))


def missing_token_file(request: Request, loaded: Settings) -> Path | None:
    """Return the file that the snippet names and that the person has yet to write; None: none."""
    asks = _source(request, loaded, named=False) is Token.ASK
    return token_path(loaded.data_dir) if asks else None


def _refuse_bad_folder(loaded: Settings) -> None:
    for problem in loaded.problems:
        if problem.field == "MEIGEN_DATA_DIR":
            raise ConfigurationRefused(f"{problem}. The token and a copy of the file go there.")


def _terms(request: Request, machine: Machine, loaded: Settings) -> Terms:
    decided = {TOKEN, TOKEN_FILE} if request.sandbox is not None or request.token_file else set()
    decided |= {"MEIGEN_REFERENCE_DIRS"} if request.reference_dirs else set()
    own = own_caps(machine, loaded)
    return Terms(str(token_path(loaded.data_dir)), frozenset(decided), own)


# --- the token ---------------------------------------------------------------------------------


def _source(request: Request, loaded: Settings, *, named: bool) -> Token:
    return token_source(
        sandbox=request.sandbox is not None,
        given=request.token_file is not None,
        new=request.new_token,
        named=named,
        kept=has_kept_token(loaded.data_dir),
    )


def _token_file(
    request: Request, loaded: Settings, person: Installer, source: Token
) -> Path | None:
    """Return the file that the entry names; None where it names none, or the one that it has."""
    match source:
        case Token.GIVEN_FILE:
            return request.token_file
        case Token.KEPT_FILE:
            return token_path(loaded.data_dir)
        case Token.ASK:
            here = None if request.new_token else token_here(loaded)
            given = here or person.token()
            return keep_token(loaded.data_dir, given) if given else None
        case _:
            return None


def _likely_token_file(request: Request, loaded: Settings, *, named: bool = False) -> Path | None:
    """Return the file that the entry would name, if the person types a token where one is asked."""
    match _source(request, loaded, named=named):
        case Token.GIVEN_FILE:
            return request.token_file
        case Token.KEPT_FILE | Token.ASK:
            return token_path(loaded.data_dir)
        case _:
            return None


def own_caps(machine: Machine, loaded: Settings) -> Mapping[str, Decimal]:
    """Return the narrowest caps that the person has set, here or for any client."""
    launches = [
        launch for one in found(machine) if not one.foreign for launch in one.launches.values()
    ]
    caps: dict[str, Decimal] = {}
    here = dict(zip(CAPS, (loaded.max_per_generation, loaded.max_per_day), strict=True))
    for name in CAPS:
        said = [read_credits(launch.environment.get(name, "")) for launch in launches]
        known = [cap for cap in (here[name], *said) if cap is not None]
        if known:
            caps[name] = min(known)
    return caps


def carry_out(
    target: Target,
    wanted: Launch | None,
    terms: Terms,
    *,
    machine: Machine,
    data_dir: Path,
    programs: Programs | None = None,
) -> Result:
    """Change a configuration as it is now, alone among installations, and keep a copy of it.

    Args:
        target: what is to be changed; it is looked at again.
        wanted: how the client is to start the server; None: no longer.
        terms: on which the entry of a project's file is kept.
        machine: where the client keeps its files.
        data_dir: where the copy and what is half written go.
        programs: what is there to do it with.

    Raises:
        ConfigurationRefused: it could not be done.
    """
    programs = programs or Programs()
    try:
        private_folder(data_dir)
        with alone(data_dir / "install.lock"):
            for _ in range(MOST_TRIES):
                on = look(target.client, machine, target.scope, target.name)
                change = plan(on, wanted, terms, programs)
                if change.by_hand is not None:
                    text = "\n".join((change.by_hand, *change.notes))
                    return Result(text, done=False)
                if change.nothing:
                    return Result(change.about, done=True, nothing=True)
                copy = _copy(on, data_dir)
                try:
                    done = _do(change, machine, data_dir, programs)
                except ConfigurationRefused as refused:
                    raise _with_copy(refused, on, copy) from None
                if done:
                    return Result(_said(change, copy), done=True)
                if copy is not None:
                    copy.unlink()
    except OSError:
        raise unwritable(data_dir) from None
    raise ConfigurationRefused(
        f"{target.file.named} is changed all the time; it was left alone. Quit"
        f" {target.client.title} and call again."
    )


def _copy(on: Target, data_dir: Path) -> Path | None:
    if on.before is None:
        return None
    return keep_copy(on.before.data, data_dir / "backups", f"{on.client.id}-{on.path.name}")


def _with_copy(
    refused: ConfigurationRefused, on: Target, copy: Path | None
) -> ConfigurationRefused:
    """Return why it was not done, with the copy where the file is not what it was."""
    if copy is None:
        return refused
    with suppress(ConfigurationRefused):
        now = on.file.read()
        if now is not None and on.before is not None and now.data == on.before.data:
            copy.unlink()
            return refused
    return ConfigurationRefused(f"{refused} As it was before: {flat(str(copy))}")


def _do(change: Change, machine: Machine, data_dir: Path, programs: Programs) -> bool:
    """Make a change; False, with nothing done, if the file is not what it was planned for."""
    on = change.target
    if not change.commands:
        data = None if change.text is None else change.text.encode()
        return on.file.replace(on.before, data, data_dir)
    said = [programs.run(command, machine.home) for command in change.commands]
    now = look(on.client, machine, on.scope, on.name).launch
    if now != (None if change.entry is None else on.client.launch(change.entry)):
        raise ConfigurationRefused(
            f"{change.commands[-1][0]} did not do it ({said[-1] or 'it said nothing'})."
            " What --print shows can be added by hand."
        )
    return True


def _said(change: Change, copy: Path | None) -> str:
    lines = [change.about, *change.notes]
    if change.entry is not None:
        lines.append(change.target.client.then)
    if copy is not None:
        lines.append(f"As it was before: {flat(str(copy))}")
    return "\n".join(lines)
