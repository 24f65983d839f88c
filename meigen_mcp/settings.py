"""The settings, and the only reader of the environment; `variables.py` has the list of them."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from meigen_mcp.catalogue.reference_rules import Accepts
from meigen_mcp.errors import Problem
from meigen_mcp.origins import is_loopback
from meigen_mcp.variables import LOG_LEVELS, SECRET, SETTINGS, Reader, hide
from meigen_mcp.wording import listed

_NETWORK = re.compile(r"(?i:(?:https?|all|no)_proxy)|SSL_CERT_(?:FILE|DIR)")
_NOWHERE = Path(os.devnull, "meigen-mcp")
"""Stands for a folder that is not known: nothing can be made in it."""
from_elsewhere: ContextVar[bool] = ContextVar("from_elsewhere", default=False)
"""Whether the request under way may come from another computer; the transport knows."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """How people sign in to a server over HTTP.

    Attributes:
        issuer: the identity provider, byte by byte as its tokens name it.
        resource: the URL that clients use.
        audiences: what a token may be for.
        keys_url: where the issuer's keys are; None: it says so itself.
        scopes: what a token must be allowed.
        scope_claims: where that stands; the first that is there counts.
        name_claims: where the person's name stands, for people alone.
        leeway: seconds by which clocks may differ.
    """

    issuer: str
    resource: str
    audiences: tuple[str, ...]
    keys_url: str | None
    scopes: tuple[str, ...]
    scope_claims: tuple[str, ...]
    name_claims: tuple[str, ...]
    leeway: float


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What the environment says, validated.

    Attributes:
        token: the API token; None: generating is refused.
        output_dir: None: nothing is saved.
        max_per_generation: credits; None: no cap.
        max_per_day: credits in 24 hours; None: no cap.
        confirm_above: credits; None: never ask.
        keep_days: days after which a saved file is deleted; None: never.
        media_dir: where results last, and previews, instead of `output_dir`; None: nowhere.
        media_url: the origin of their URLs.
        metadata: all, mark or off; empty: what is usual for each format.
        telemetry: whether spans and metrics are sent.
        tasks: whether a client that asks for tasks is given some.
        problems: what is wrong with each bad value; with any, no tool spends anything.
        discreet: no answer names a path of this machine, which its reader cannot open.
        database_url: where many servers share one ledger; None: it is a file in `data_dir`.
        database_direct_url: the same past any pooler; None: there is none in between.
        request_keys: seal what a client carries from one of them to another; the first seals,
            all open. None: each server has one of its own.
        http_token_name: the person that the token for clients is, where people sign in.
        sign_in: how they do; None: nobody does.
        sandbox: the name of the sandbox, empty for one that forgets; None: it is MeiGen.
    """

    token: str | None
    base_url: str
    upload_url: str
    data_dir: Path
    output_dir: Path | None
    reference_dirs: tuple[Path, ...]
    max_per_generation: Decimal | None
    max_per_day: Decimal | None
    confirm_above: Decimal | None
    models: tuple[str, ...]
    rate_limit: int
    poll_interval: float
    http_token: str | None
    log_level: str
    problems: tuple[Problem, ...]
    metadata: str = ""
    keep_days: float | None = None
    telemetry: bool = False
    media_dir: Path | None = None
    media_url: str | None = None
    tasks: bool = True
    discreet: bool = False
    sandbox: str | None = None
    database_url: str | None = None
    database_direct_url: str | None = None
    request_keys: tuple[str, ...] = ()
    http_token_name: str = ""
    sign_in: SignIn | None = None

    @property
    def ledger_place(self) -> str:
        """Where the ledger is, in words."""
        if self.database_url is not None:
            return "the database of MEIGEN_DATABASE_URL"
        return str(self.data_dir)

    @property
    def names_paths(self) -> bool:
        """Whether the answer to the request under way may name paths of this machine."""
        return not (self.discreet or from_elsewhere.get())

    def without_paths(self, sentence: str) -> str:
        """Return a sentence as the request under way may hear it: a folder by its variable."""
        if self.names_paths:
            return sentence
        folders = {"MEIGEN_DATA_DIR": self.data_dir, "MEIGEN_OUTPUT_DIR": self.output_dir}
        folders["MEIGEN_MEDIA_DIR"] = self.media_dir
        for name, folder in folders.items():
            sentence = sentence.replace(str(folder), name) if folder else sentence
        return sentence

    @property
    def own_origin(self) -> str | None:
        """The API's origin when it is loopback: its URLs then count as public."""
        return self.base_url if is_loopback(self.base_url) else None

    @property
    def reference_folders(self) -> tuple[Path, ...]:
        """The folders that local references may come from; none where paths are not named."""
        if not self.names_paths:
            return ()
        return (*((self.output_dir,) if self.output_dir else ()), *self.reference_dirs)

    @property
    def accepts(self) -> Accepts:
        """What references may be in a call to this server."""
        folders = tuple(map(str, self.reference_folders))
        return Accepts(self.own_origin, results=True, files=self.names_paths, folders=folders)


TOKEN_SHAPE = re.compile(r"meigen_sk_\S{32}")
"""What a token is by MeiGen's documentation (2026-05); another is used all the same."""


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: the variables; by default those of this process.

    Returns:
        The settings; a bad value is described in `problems`, and its default stands in for it, or
        for a limit on spending a limit of 0.
    """
    reader = Reader(os.environ if environment is None else environment)
    reader.misspelt()
    sign_in = _read_sign_in(reader)
    return Settings(
        token=reader.token(),
        base_url=reader.origin("MEIGEN_BASE_URL"),
        upload_url=reader.origin("MEIGEN_UPLOAD_URL"),
        data_dir=reader.folder("MEIGEN_DATA_DIR", default_data_dir) or _NOWHERE,
        output_dir=reader.output_dir(),
        reference_dirs=reader.folders("MEIGEN_REFERENCE_DIRS"),
        max_per_generation=reader.credits("MEIGEN_MAX_CREDITS_PER_GENERATION"),
        max_per_day=reader.credits("MEIGEN_MAX_CREDITS_PER_DAY"),
        confirm_above=reader.credits("MEIGEN_CONFIRM_ABOVE", may_be_off=True),
        models=reader.model_ids("MEIGEN_MODELS"),
        rate_limit=int(reader.number("MEIGEN_RATE_LIMIT", 1, 100_000, whole=True)),
        poll_interval=reader.number("MEIGEN_POLL_INTERVAL", 0.05, 60),
        http_token=reader.secret("MEIGEN_HTTP_TOKEN"),
        log_level=reader.choice("MEIGEN_LOG_LEVEL", LOG_LEVELS),
        keep_days=reader.days("MEIGEN_KEEP_DAYS"),
        metadata=reader.choice("MEIGEN_METADATA", ("all", "mark", "off")),
        telemetry=reader.choice("MEIGEN_TELEMETRY", ("off", "otlp")) == "otlp",
        tasks=reader.choice("MEIGEN_TASKS", ("on", "off")) == "on",
        database_url=reader.database("MEIGEN_DATABASE_URL"),
        database_direct_url=reader.database("MEIGEN_DATABASE_DIRECT_URL"),
        request_keys=reader.keys("MEIGEN_REQUEST_KEYS_FILE"),
        http_token_name=" ".join(reader.words("MEIGEN_HTTP_TOKEN_NAME")) or "scripts",
        sign_in=sign_in,
        media_dir=reader.path("MEIGEN_MEDIA_DIR"),
        media_url=reader.media_origin(sign_in.resource if sign_in else None),
        problems=tuple(reader.problems),
    )


def _read_sign_in(reader: Reader) -> SignIn | None:
    """Return how people sign in; half of it is a problem and no open door."""
    issuer, resource = reader.url("MEIGEN_OAUTH_ISSUER"), reader.url("MEIGEN_OAUTH_RESOURCE")
    read = SignIn(
        issuer=issuer or "",
        resource=resource or "",
        audiences=reader.words("MEIGEN_OAUTH_AUDIENCES") or (resource or "",),
        keys_url=reader.url("MEIGEN_OAUTH_KEYS_URL"),
        scopes=reader.words("MEIGEN_OAUTH_SCOPES"),
        scope_claims=reader.words("MEIGEN_OAUTH_SCOPE_CLAIMS"),
        name_claims=reader.words("MEIGEN_OAUTH_NAME_CLAIMS"),
        leeway=reader.number("MEIGEN_OAUTH_LEEWAY", 0, 300),
    )
    if issuer and resource:
        return read
    names = ("ISSUER", "RESOURCE", "AUDIENCES", "KEYS_URL", "SCOPES")
    given = [name for name in names if reader.given(f"MEIGEN_OAUTH_{name}") is not None]
    missing = [f"MEIGEN_OAUTH_{name}" for name in names[:2] if name not in given]
    if given and missing:
        wrong = f"nobody can sign in by it without {listed(missing, 'and')}"
        fix = "set that as well, or unset all that begin with MEIGEN_OAUTH_"
        reader.problems.append(Problem(f"MEIGEN_OAUTH_{given[0]}", wrong, fix))
    return None


def layered(beneath: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process laid over others, such as those of a client."""
    return {**beneath, **os.environ}


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that are set, as they may be shown: a secret by its length."""
    reader = Reader(environment)
    values = {setting.name: reader.given(setting.name) for setting in SETTINGS}
    return {
        name: f"set, {len(value)} characters" if name in SECRET else hide(value)
        for name, value in values.items()
        if value is not None
    }


def network_variables() -> dict[str, str]:
    """Return the proxy and certificate variables of this process, or the system's own proxies."""
    given = {name: value for name, value in os.environ.items() if _NETWORK.fullmatch(name)}
    if sys.platform in {"darwin", "win32"} and not any("proxy" in name.lower() for name in given):
        from urllib.request import getproxies  # noqa: PLC0415  # slow: with the first request

        given |= {f"{scheme}_proxy": url for scheme, url in getproxies().items()}
    return given


def client_folders() -> dict[str, Path]:
    """Return the folders that some clients let a variable of their own name."""
    names = {"claude-code": "CLAUDE_CONFIG_DIR", "codex": "CODEX_HOME", "copilot": "COPILOT_HOME"}
    told = {client: os.environ.get(name) for client, name in names.items()}
    return {client: Path(folder) for client, folder in told.items() if folder}


def default_data_dir() -> Path:
    """Return the folder of ledger and caches where none is set."""
    from platformdirs import user_data_path  # noqa: PLC0415  # only without MEIGEN_DATA_DIR

    with suppress(RuntimeError):  # no home is known
        return user_data_path("meigen-mcp", appauthor=False)
    return Path()
