"""What is set, what works, and what to mend. Nothing here spends, and no token is ever shown."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from meigen_mcp import errors, settings, variables
from meigen_mcp.api import network
from meigen_mcp.api.client import Api
from meigen_mcp.app import open_database, open_folder, open_ledger
from meigen_mcp.commands import installed
from meigen_mcp.commands.clients import Machine
from meigen_mcp.commands.findings import Finding
from meigen_mcp.commands.project_entry import Terms
from meigen_mcp.commands.tokens import token_path
from meigen_mcp.media import whole_files
from meigen_mcp.media.store import Media
from meigen_mcp.reports import Balance
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.settings import Settings
from meigen_mcp.system import can_lock, private_folder
from meigen_mcp.system.extras import install_extra

PACKAGES = ("meigen-mcp", "mcp", "httpx", "pydantic", "pillow")
_NETWORK = (
    "Check the connection. Behind a proxy set HTTPS_PROXY, with a certificate of your own"
    " SSL_CERT_FILE, in the terminal and in the client's configuration of the server."
)
MakeApi = Callable[[Settings], Api]


async def examine(
    machine: Machine | None,
    environment: Mapping[str, str] | None = None,
    api: MakeApi = Api,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Look at everything.

    Args:
        machine: where the clients keep their files; None: that is not known.
        environment: the variables; by default those of this process, over those of each client of
            the person's that has the server, since a terminal seldom has the token.
        api: makes the client of the API.
        now: the clock.
    """
    found = installed.found(machine) if machine else []
    own = settings.layered({}) if environment is None else environment
    launches = [launch for one in found for launch in one.launches.values()]
    sandboxed = bool(launches) and all(launch.in_sandbox for launch in launches)
    environments = installed.environments(found, own)
    here = settings.load(own).token
    findings = [_versions()]
    asked: list[tuple[str | None, ...]] = []
    for client, merged in environments:
        sources = {name: "the environment" if own.get(name) else client for name in merged}
        loaded = settings.load(merged)
        on_sandbox = sandboxed and loaded.token is None
        whose = f"{client}: " if len(environments) > 1 else ""
        findings += _settings(loaded, merged, sources, whose)
        findings += _token(loaded, merged, sources, whose, on_sandbox=on_sandbox)
        findings += _network(merged)
        asks = (loaded.base_url, loaded.upload_url, loaded.token)
        if not on_sandbox and asks not in asked:
            asked.append(asks)
            findings += await _reachable(loaded, api, "" if loaded.token == here else whose)
        findings += await _works(loaded, api, now())
    findings.append(_frames())
    own_file = str(token_path(settings.load(environments[0][1]).data_dir))
    findings += installed.examine(found, machine, Terms(own_file))
    return list(dict.fromkeys(findings))  # most is the same for all clients


async def _works(loaded: Settings, api: MakeApi, now: float) -> list[Finding]:
    """Look at what the settings name."""
    findings = []
    if loaded.sign_in is not None:
        from meigen_mcp.commands import issuer_check  # noqa: PLC0415  # few have people sign in

        findings.append(await issuer_check.examine(loaded.sign_in))
    findings += await _ledger(loaded, now)
    findings += await _models(loaded, api)
    findings.append(_output(loaded, api))
    return [*findings, *_references(loaded), *_measured(loaded)]


def _wrong(topic: str, problem: errors.Problem) -> Finding:
    says = f"{problem.field}: {problem.message}"
    return Finding(topic, says, f"{problem.field}: {problem.fix}.")


def _versions() -> Finding:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return Finding(
        "versions",
        f"{versions}; Python {platform.python_version()} ({sys.executable}); {platform.platform()}",
    )


def _settings(
    loaded: Settings, merged: Mapping[str, str], sources: Mapping[str, str], whose: str
) -> Iterator[Finding]:
    for name, value in settings.shown(merged).items():
        if name not in variables.SECRET:
            yield Finding("settings", f"{name}: {value} ({sources[name]})")
    for problem in loaded.problems:
        yield _wrong("settings", problem)
    caps = (loaded.max_per_generation, loaded.max_per_day)
    if all(cap is None for cap in caps):
        says = f"{whose}No cap on spending is set (MEIGEN_MAX_CREDITS_PER_DAY)."
        yield Finding("settings", says)


def _token(
    loaded: Settings,
    merged: Mapping[str, str],
    sources: Mapping[str, str],
    whose: str,
    *,
    on_sandbox: bool,
) -> Iterator[Finding]:
    if loaded.token is None:
        if on_sandbox:
            yield Finding("token", "not set, and the sandbox needs none")
        else:
            how = "Run `meigen-mcp install CLIENT`, or set MEIGEN_API_TOKEN_FILE."
            yield Finding("token", f"{whose}not set: the server quotes and makes nothing", how)
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
    found = network.shown(merged)
    if not found:
        yield Finding("network", "no proxy and no certificates of your own")
    for name, value in found.items():
        missing = name.startswith("SSL_CERT") and not os.path.exists(value)  # noqa: PTH110  # as below
        yield Finding(
            "network",
            f"{name}: {value}" + (", which does not exist" if missing else ""),
            f"Set {name} to a file or folder that exists, or take it out." if missing else None,
        )


async def _reachable(loaded: Settings, make: MakeApi, whose: str) -> list[Finding]:
    gateway = replace(loaded, base_url=loaded.upload_url, token=None)
    findings = []
    for topic, one in (("api", loaded), ("upload", gateway)):
        problem, seconds = await _ask_api(make(one), look_up=one.token is not None)
        if isinstance(problem, errors.Unreachable):
            findings.append(Finding(topic, f"{one.base_url}: {problem.message}", _NETWORK))
            continue
        findings.append(Finding(topic, f"{one.base_url} answers after {seconds * 1000:.0f} ms"))
        if one.token is not None:
            findings.append(_accepted(problem, whose))
    return findings


async def _ask_api(api: Api, *, look_up: bool) -> tuple[errors.ApiError | None, float]:
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


def _accepted(problem: errors.ApiError | None, whose: str) -> Finding:
    if problem is None or isinstance(problem, errors.RequestNotFound):
        return Finding("account", f"{whose}the token is accepted")
    if isinstance(problem, errors.Unauthorized | errors.Forbidden):
        return Finding(
            "account",
            f"{whose}{problem.message}",
            "Make a token on meigen.ai, then `meigen-mcp install CLIENT --new-token`.",
        )
    says = f"{whose}whether the token is accepted cannot be told: {problem.message}"
    return Finding("account", says)


async def _ledger(loaded: Settings, now: float) -> list[Finding]:
    if any(problem.field == "MEIGEN_DATA_DIR" for problem in loaded.problems):
        return []  # which folder is meant is not known
    if loaded.database_url is not None:
        return await _database(loaded, now)
    ledger = open_folder(loaded)
    rescued = ledger.rescued
    if not (ledger.exists or rescued):
        return [_place_for_ledger(loaded.data_dir)]
    try:
        states = await ledger.check()
        known = await ledger.records.last_balance()
    except errors.LedgerUnavailable as problem:
        return [Finding("ledger", problem.what, problem.fix)]
    finally:
        await ledger.close()
    findings = [_sound(loaded, states), *(_rescued(path) for path in rescued)]
    if known is not None:
        findings.append(Finding("balance", _balance(*known, now)))
    return findings


async def _database(loaded: Settings, now: float) -> list[Finding]:
    try:
        ledger = open_database(loaded)
    except errors.BadSettings as problem:
        return [Finding("ledger", problem.message, "See docs/team.md.")]
    try:
        await ledger.must_hear_itself()
        states = await ledger.check()
        known = await ledger.records.last_balance()
    except errors.LedgerUnavailable as problem:
        return [Finding("ledger", problem.what, problem.fix)]
    finally:
        await ledger.close()
    findings = [_sound(loaded, states)]
    if not loaded.request_keys:
        says = "`serve --http` on a database does not start without keys"
        how = "Set MEIGEN_REQUEST_KEYS_FILE, the same for all its servers (docs/team.md)."
        findings.append(Finding("ledger", says, how))
    if known is not None:
        findings.append(Finding("balance", _balance(*known, now)))
    return findings


def _sound(loaded: Settings, states: Mapping[str, int]) -> Finding:
    jobs = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return Finding("ledger", f"{loaded.ledger_place} is sound; {jobs or 'no generations'}")


def _rescued(path: Path) -> Finding:
    says = f"{path} holds what a server knew whose ledger was removed or replaced meanwhile"
    if path.exists():
        return Finding("ledger", says, "Keep it, and see in the log why it is not taken in.")
    return Finding("ledger", f"{path}, from a ledger that was removed or replaced, is taken in")


def _place_for_ledger(folder: Path) -> Finding:
    """Say whether a ledger can be made where none is, before somebody pays for finding out."""
    elsewhere = "Set MEIGEN_DATA_DIR to a folder on a disk of this computer."
    try:
        private_folder(folder)
        if not can_lock(folder):
            says = f"the data folder {folder} is on a file system that cannot lock files"
            return Finding("ledger", says, elsewhere)
    except OSError:
        return Finding("ledger", f"the data folder {folder} cannot be written", elsewhere)
    return Finding("ledger", f"none yet in {folder}; the first generation makes it")


async def _models(loaded: Settings, make: MakeApi) -> list[Finding]:
    """Name what MEIGEN_MODELS allows although it does not exist, as far as is known."""
    if not loaded.models:
        return []
    every = replace(loaded, models=())
    try:
        ledger = open_ledger(loaded)
    except errors.BadSettings:  # said with the ledger
        return []
    catalogue = CurrentCatalogue(every, ledger, lambda: make(loaded))
    if loaded.database_url is not None or open_folder(loaded).exists:
        await catalogue.load()
    await ledger.close()
    findings = []
    for name in loaded.models:
        if catalogue.current.find(name) is None:
            guess = catalogue.current.guess(name)
            hint = f"Did you mean {guess.id}? " if guess else ""
            finding = Finding(
                "models",
                f"MEIGEN_MODELS names {name}, which is no known model",
                f"{hint}`meigen-mcp models` shows all.",
            )
            findings.append(finding)
    return findings


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
    if loaded.media_dir is not None:
        return _archive(loaded.media_dir)
    if loaded.output_dir is None:
        return Finding("output", "saving is turned off (MEIGEN_OUTPUT_DIR)")
    problem = Media(make(loaded), loaded.output_dir).problem()
    if problem is None:
        return Finding("output", f"{loaded.output_dir} can be written")
    return _wrong("output", problem)


def _archive(folder: Path) -> Finding:
    """Say whether results can be kept; what URLs of theirs lead to is said with the settings."""
    try:
        private_folder(folder)
        with whole_files.new(folder, private=True):
            return Finding("output", f"results are kept in {folder}, which can be written")
    except OSError:
        how = "Set MEIGEN_MEDIA_DIR to a folder that this user can write, or unset it."
        return Finding("output", f"{folder} cannot be written, so no results are kept", how)


def _references(loaded: Settings) -> Iterator[Finding]:
    for folder in loaded.reference_dirs:
        if os.path.isdir(folder):  # noqa: PTH112  # it raises nothing
            yield Finding("references", f"images in {folder} may be used")
        else:
            how = "Create it, or take it out of MEIGEN_REFERENCE_DIRS."
            yield Finding("references", f"{folder} is no folder", how)


def _frames() -> Finding:
    if importlib.util.find_spec("av") is None:
        return Finding("previews", f"none of videos: `{install_extra('video')}` adds them")
    return Finding("previews", "of images, and frames of videos")


def _measured(loaded: Settings) -> Iterator[Finding]:
    if not loaded.telemetry:
        return
    sends = None
    with suppress(ModuleNotFoundError):  # of what stands above it
        sends = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http")
    if sends is None:
        fix = f"Run `{install_extra('telemetry')}`, or unset MEIGEN_TELEMETRY."
        yield Finding("telemetry", "nothing is sent: what MEIGEN_TELEMETRY needs is missing", fix)


async def reset_ledger(loaded: Settings, now: Callable[[], float] = time.time) -> Finding:
    """Begin a new ledger when the old one is damaged, which is kept under another name."""
    if loaded.database_url is not None:
        says = "It is in the database of MEIGEN_DATABASE_URL; nothing was changed."
        return Finding("ledger", says, "Mend or restore that with PostgreSQL's own means.")
    ledger = open_folder(loaded)
    if not ledger.exists:
        return Finding("ledger", f"There is none in {loaded.data_dir}; nothing to do.")
    try:
        await ledger.check()
        return Finding("ledger", f"The ledger in {loaded.data_dir} is sound; nothing was changed.")
    except errors.LedgerUnavailable as problem:
        if not problem.damaged:
            return Finding("ledger", problem.what, f"{problem.fix} Nothing was changed.")
    finally:
        await ledger.close()
    stamp = datetime.fromtimestamp(now(), UTC).strftime("%Y%m%d-%H%M%S")
    try:
        copy = await ledger.set_aside(f"ledger-damaged-{stamp}.sqlite3")
    except errors.LedgerUnavailable as problem:
        return Finding("ledger", problem.what, f"{problem.fix} Nothing was changed.")
    return Finding(
        "ledger",
        f"The damaged ledger is kept as {copy}; the next call begins a new one. What was spent in"
        " the last 24 hours no longer counts towards your caps, and generations under way are on"
        " meigen.ai only.",
    )
