"""What is set, what works, and what to mend. Nothing here spends, and no token is ever shown."""

import importlib.metadata
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from meigen_mcp import clients, errors, settings
from meigen_mcp.api import Api
from meigen_mcp.app import account_of
from meigen_mcp.clients import Found, Machine
from meigen_mcp.database import Database
from meigen_mcp.generation import Balance
from meigen_mcp.ledger import Ledger
from meigen_mcp.live_catalogue import LiveCatalogue
from meigen_mcp.media import Media
from meigen_mcp.settings import Settings

PACKAGES = ("meigen-mcp", "mcp", "httpx", "pydantic", "pillow")
_NETWORK = (
    "Check the connection. Behind a proxy set HTTPS_PROXY, with a certificate of your own"
    " SSL_CERT_FILE, in the terminal and in the client's configuration of the server."
)
MakeApi = Callable[[Settings], Api]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it is about.
        says: how it is.
        fix: what to do; None: nothing is wrong.
    """

    topic: str
    says: str
    fix: str | None = None


async def examine(
    machine: Machine,
    environment: Mapping[str, str] | None = None,
    api: MakeApi = Api,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Look at everything.

    Args:
        machine: where the clients keep their files.
        environment: the variables; by default those of this process, over those of the first
            client that has the server, since a terminal seldom has the token.
        api: makes the client of the API.
        now: the clock.
    """
    found = clients.found(machine)
    first, beneath = _first_of(found)
    own = settings.layered({}) if environment is None else environment
    merged = {**beneath, **own}
    sources = {name: "the environment" if own.get(name) else first for name in merged}
    loaded = settings.load(merged)
    on_sandbox = loaded.token is None and any(
        "--sandbox" in launch.command for one in found for launch in one.launches.values()
    )
    findings = [_versions(), *_settings(loaded, merged, sources)]
    findings += _token(loaded, merged, sources, on_sandbox=on_sandbox)
    findings += _network(merged)
    findings += [] if on_sandbox else await _reachable(loaded, api)
    findings += _ledger(loaded, now())
    findings += _models(loaded, api)
    findings.append(_output(loaded, api))
    findings += _references(loaded)
    findings.append(_frames())
    findings += _clients(found, machine)
    return findings


def _first_of(found: Sequence[Found]) -> tuple[str, Mapping[str, str]]:
    for one in found:
        for launch in one.launches.values():
            return f"{one.client.title}, {one.path}", launch.environment
    return "", {}


def _versions() -> Finding:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return Finding(
        "versions",
        f"{versions}; Python {platform.python_version()} ({sys.executable}); {platform.platform()}",
    )


def _settings(
    loaded: Settings, merged: Mapping[str, str], sources: Mapping[str, str]
) -> Iterator[Finding]:
    for name, value in settings.shown(merged).items():
        if name not in settings.SECRET:
            yield Finding("settings", f"{name}: {value} ({sources[name]})")
    for problem in loaded.problems:
        yield Finding("settings", problem, "Set it to what is allowed, or take it out.")
    caps = (loaded.max_per_generation, loaded.max_per_day)
    if all(cap is None for cap in caps):
        yield Finding("settings", "No cap on spending is set (MEIGEN_MAX_CREDITS_PER_DAY).")


def _token(
    loaded: Settings,
    merged: Mapping[str, str],
    sources: Mapping[str, str],
    *,
    on_sandbox: bool,
) -> Iterator[Finding]:
    if loaded.token is None:
        if on_sandbox:
            yield Finding("token", "not set, and the sandbox needs none")
        else:
            how = "Run `meigen-mcp install CLIENT`, or set MEIGEN_API_TOKEN_FILE."
            yield Finding("token", "not set: the server quotes and makes nothing", how)
        return
    shape = "right" if settings.TOKEN_SHAPE.fullmatch(loaded.token) else "unusual"
    name = "MEIGEN_API_TOKEN"
    place = name if settings.shown(merged).get(name) else f"{name}_FILE"
    yield Finding(
        "token",
        f"set, {len(loaded.token)} characters, {shape} shape ({place}, {sources[place]})",
        None
        if shape == "right"
        else "A token is meigen_sk_ and 32 characters: `meigen-mcp install CLIENT --new-token`.",
    )
    if place == "MEIGEN_API_TOKEN_FILE":
        path = Path(merged[place]).expanduser()
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            yield Finding("token", f"others can read {path}", f"chmod 600 {path}")


def _network(merged: Mapping[str, str]) -> Iterator[Finding]:
    found = settings.network(merged)
    if not found:
        yield Finding("network", "no proxy and no certificates of your own")
    for name, value in found.items():
        missing = name.startswith("SSL_CERT") and not Path(value).exists()
        yield Finding(
            "network",
            f"{name}: {value}" + (", which does not exist" if missing else ""),
            f"Set {name} to a file or folder that exists, or take it out." if missing else None,
        )


async def _reachable(loaded: Settings, make: MakeApi) -> list[Finding]:
    gateway = replace(loaded, base_url=loaded.upload_url, token=None)
    findings = []
    for topic, one in (("api", loaded), ("upload", gateway)):
        problem, seconds = await _asked(make(one), look_up=one.token is not None)
        if isinstance(problem, errors.Unreachable):
            findings.append(Finding(topic, f"{one.base_url}: {problem.message}", _NETWORK))
            continue
        findings.append(Finding(topic, f"{one.base_url} answers after {seconds * 1000:.0f} ms"))
        if one.token is not None:
            findings.append(_accepted(problem))
    return findings


async def _asked(api: Api, *, look_up: bool) -> tuple[errors.ApiError | None, float]:
    """Ask for a request that cannot exist, or for the public list; return what was wrong."""
    began = time.perf_counter()
    problem: errors.ApiError | None = None
    try:
        await (api.lookup(str(uuid4())) if look_up else api.models())
    except errors.ApiError as raised:
        problem = raised
    finally:
        await api.close()
    return problem, time.perf_counter() - began


def _accepted(problem: errors.ApiError | None) -> Finding:
    if problem is None or isinstance(problem, errors.RequestNotFound):
        return Finding("account", "the token is accepted")
    if isinstance(problem, errors.Unauthorized | errors.Forbidden):
        return Finding(
            "account",
            problem.message,
            "Make a token on meigen.ai, then `meigen-mcp install CLIENT --new-token`.",
        )
    return Finding("account", f"whether the token is accepted cannot be told: {problem.message}")


def _ledger(loaded: Settings, now: float) -> Iterator[Finding]:
    if not (loaded.data_dir / "ledger.sqlite3").exists():
        yield Finding("ledger", f"none yet in {loaded.data_dir}; the first generation makes it")
        return
    database = Database(loaded.data_dir)
    try:
        states = database.check()
        jobs = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        yield Finding("ledger", f"{loaded.data_dir} is sound; {jobs or 'no generations'}")
        known = Ledger(database).last_balance(account_of(loaded, database))
        if known is not None:
            yield Finding("balance", _balance(*known, now))
    except errors.LedgerUnavailable as problem:
        says, _, fix = problem.message.removesuffix(" Nothing was sent or charged.").partition(". ")
        yield Finding("ledger", says, fix or "Run `meigen-mcp doctor --reset-ledger`.")
    finally:
        database.close()


def _models(loaded: Settings, make: MakeApi) -> Iterator[Finding]:
    """Name what MEIGEN_MODELS allows although it does not exist, as far as is known."""
    database = Database(loaded.data_dir)
    every = replace(loaded, models=())
    catalogue = LiveCatalogue(every, Ledger(database), lambda: make(loaded))
    if (loaded.data_dir / "ledger.sqlite3").exists():
        catalogue.load()
        database.close()
    for name in loaded.models:
        if catalogue.current.find(name) is None:
            guess = catalogue.current.guess(name)
            hint = f"Did you mean {guess.id}? " if guess else ""
            yield Finding(
                "models",
                f"MEIGEN_MODELS names {name}, which is no known model",
                f"{hint}`meigen-mcp models` shows all.",
            )


def _balance(balance: Balance, at: float, now: float) -> str:
    parts = [
        f"{amount:f} {name}"
        for name, amount in (("purchased", balance.purchased), ("daily", balance.daily))
        if amount is not None
    ] + (["unlimited"] if balance.unlimited else [])
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    days = int((now - at) // 86400)
    return f"{', '.join(parts) or 'unknown'} credits, as of {when}" + (
        f", {days} days ago" if days > 1 else ""
    )


def _output(loaded: Settings, make: MakeApi) -> Finding:
    if loaded.output_dir is None:
        return Finding("output", "saving is turned off (MEIGEN_OUTPUT_DIR)")
    problem = Media(make(loaded), loaded.output_dir).problem()
    if problem is None:
        return Finding("output", f"{loaded.output_dir} can be written")
    says, _, fix = problem.partition(". ")
    return Finding("output", says, fix)


def _references(loaded: Settings) -> Iterator[Finding]:
    for folder in loaded.reference_dirs:
        if folder.is_dir():
            yield Finding("references", f"images in {folder} may be used")
        else:
            how = "Create it, or take it out of MEIGEN_REFERENCE_DIRS."
            yield Finding("references", f"{folder} is no folder", how)


def _frames() -> Finding:
    if importlib.util.find_spec("av") is None:
        return Finding("previews", 'none of videos: `pip install "meigen-mcp[video]"` adds them')
    return Finding("previews", "of images, and frames of videos")


def _clients(found: Sequence[Found], machine: Machine) -> Iterator[Finding]:
    if not found:
        yield Finding("clients", "none has this server: `meigen-mcp install CLIENT` adds it")
    for one in found:
        client, where = one.client, f"{one.client.title} ({one.path})"
        if one.problem is not None:
            says = f"{where} cannot be read: {one.problem}"
            yield Finding("clients", says, "Mend the file; the client ignores it as it is.")
        for name, launch in one.launches.items():
            sandbox = ", in the sandbox" if "--sandbox" in launch.command else ""
            says = f'{where} has it as "{name}"{sandbox}. You will see: {client.shows}'
            command = launch.command[0]
            again = f"Run `meigen-mcp install {client.id}` again."
            if not clients.executable(machine, command):
                says = f"{where} starts {command}, which is not there"
                yield Finding("clients", says, again)
            else:
                yield Finding("clients", says)
            there = settings.load(launch.environment)
            if there.token is not None and not settings.TOKEN_SHAPE.fullmatch(there.token):
                says = f"{where} has a token of unusual shape"
                yield Finding("clients", says, f"{again[:-8]} --new-token` again.")
            for problem in there.problems:
                yield Finding("clients", f"{where}: {problem}", f"Mend it there, or: {again}")


def reset_ledger(loaded: Settings, now: Callable[[], float] = time.time) -> Finding:
    """Begin a new ledger when the old one is damaged, which is kept under another name."""
    database = Database(loaded.data_dir)
    if not (loaded.data_dir / "ledger.sqlite3").exists():
        return Finding("ledger", f"There is none in {loaded.data_dir}; nothing to do.")
    try:
        database.check()
        return Finding("ledger", f"The ledger in {loaded.data_dir} is sound; nothing was changed.")
    except errors.LedgerUnavailable as problem:
        if "--reset-ledger" not in problem.message:
            return Finding("ledger", problem.message, "Nothing was changed.")
    finally:
        database.close()
    stamp = datetime.fromtimestamp(now(), UTC).strftime("%Y%m%d-%H%M%S")
    try:
        copy = database.set_aside(f"ledger-damaged-{stamp}.sqlite3")
    except errors.LedgerUnavailable as problem:
        return Finding("ledger", problem.message, "Then run this again.")
    return Finding(
        "ledger",
        f"The damaged ledger is kept as {copy}; the next call begins a new one. What was spent in"
        " the last 24 hours no longer counts towards your caps, and generations under way are on"
        " meigen.ai only.",
    )


def as_text(findings: Sequence[Finding]) -> str:
    """Return the findings as a person reads them, the problems once more at the end."""
    lines = []
    for finding in findings:
        mark = "ok " if finding.fix is None else "BAD"
        lines.append(f"{mark} {finding.topic:9} {finding.says}")
        if finding.fix is not None:
            lines.append(f"    {'':9} -> {finding.fix}")
    problems = sum(finding.fix is not None for finding in findings)
    lines.append("Nothing to mend." if not problems else f"To mend: {problems}.")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings for a program."""
    listed = [
        {name: value for name, value in asdict(finding).items() if value is not None}
        for finding in findings
    ]
    ok = all(finding.fix is None for finding in findings)
    return json.dumps({"ok": ok, "findings": listed}, indent=2, ensure_ascii=False)
