"""The settings, and the only reader of the environment.

`SETTINGS` is the one list of them: the README table is made from it.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from meigen_mcp.references import Accepts

_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")
_NUMBER = re.compile(r"(?=\.?\d)\d{0,12}(?:\.\d{0,9})?", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([\w-]+(?:\.[\w-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/*", re.ASCII)
_SECRETS = re.compile(r"[^/]+(?=@)|meigen_sk_\S*")
_LONGEST_TOKEN_FILE = 4096
_PASSWORD = re.compile(r"(?<=//)[^/]*@|^[^/]*@")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
SECRET = ("MEIGEN_API_TOKEN", "MEIGEN_HTTP_TOKEN")


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable with what it means, as the README shows it."""

    name: str
    default: str
    about: str


SETTINGS = (
    Setting("MEIGEN_API_TOKEN", "", "Your token (`meigen_sk_...`). Without it: quotes only."),
    Setting("MEIGEN_API_TOKEN_FILE", "", "A file that holds the token, instead of the token."),
    Setting("MEIGEN_BASE_URL", "https://www.meigen.ai", "Origin of the API."),
    Setting("MEIGEN_UPLOAD_URL", "https://gen.meigen.ai", "Origin of the upload gateway."),
    Setting("MEIGEN_DATA_DIR", "the user data folder", "Ledger and caches."),
    Setting(
        "MEIGEN_OUTPUT_DIR", "MeiGen in Pictures", "Where media are saved; `off` saves nothing."
    ),
    Setting(
        "MEIGEN_REFERENCE_DIRS",
        "",
        "Folders for local references besides the output folder, separated as in PATH.",
    ),
    Setting(
        "MEIGEN_MAX_CREDITS_PER_GENERATION", "no cap", "Hard cap for one call; 0 spends nothing."
    ),
    Setting(
        "MEIGEN_MAX_CREDITS_PER_DAY", "no cap", "Hard cap for 24 hours, over all chat clients."
    ),
    Setting(
        "MEIGEN_CONFIRM_ABOVE",
        "100",
        "Ask you when a quote, or the last hour's spending with it, is above this, and for unknown"
        " prices; `off` never asks.",
    ),
    Setting("MEIGEN_MODELS", "all", "Model ids that may be used, separated by commas."),
    Setting("MEIGEN_RATE_LIMIT", "12", "Submissions a minute, 1-100000, over all chat clients."),
    Setting("MEIGEN_POLL_INTERVAL", "3", "Seconds between looks, 0.05-60."),
    Setting("MEIGEN_HTTP_TOKEN", "", "Bearer token that clients of `serve --http` must send."),
    Setting("MEIGEN_LOG_LEVEL", "warning", "debug, info, warning or error; logs go to stderr."),
)


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What the environment says, validated.

    Attributes:
        token: the API token; None: generating is refused.
        output_dir: None: nothing is saved.
        max_per_generation: credits; None: no cap.
        max_per_day: credits in 24 hours; None: no cap.
        confirm_above: credits; None: never ask.
        problems: one sentence for each bad value; with any, no tool spends anything.
        discreet: answers name no path of this machine, which their reader cannot open.
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
    problems: tuple[str, ...]
    discreet: bool = False

    @property
    def own_origin(self) -> str | None:
        """The API's origin when it is loopback: its URLs then count as public."""
        return self.base_url if is_loopback(self.base_url) else None

    @property
    def reference_folders(self) -> tuple[Path, ...]:
        """The folders that local references may come from; none where paths are not named."""
        if self.discreet:
            return ()
        return (*((self.output_dir,) if self.output_dir else ()), *self.reference_dirs)

    @property
    def accepts(self) -> Accepts:
        """What references may be in a call to this server."""
        return Accepts(self.own_origin, results=True, files=not self.discreet)


def is_loopback(url: str) -> bool:
    """Say whether the literal host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


TOKEN_SHAPE = re.compile(r"meigen_sk_\S{32}")
"""What a token is by MeiGen's documentation (2026-05); another is used all the same."""


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: the variables; by default those of this process.

    Returns:
        The settings; a bad value is replaced by its default and described in `problems`.
    """
    reader = _Reader(os.environ if environment is None else environment)
    reader.misspelt()
    caps = {
        name: reader.credits(f"MEIGEN_MAX_CREDITS_PER_{name}") for name in ("GENERATION", "DAY")
    }
    return Settings(
        token=reader.token(),
        base_url=reader.origin("MEIGEN_BASE_URL", "https://www.meigen.ai"),
        upload_url=reader.origin("MEIGEN_UPLOAD_URL", "https://gen.meigen.ai"),
        data_dir=reader.folder("MEIGEN_DATA_DIR") or _default_data_dir(),
        output_dir=reader.output_dir(),
        reference_dirs=reader.folders("MEIGEN_REFERENCE_DIRS"),
        max_per_generation=caps["GENERATION"],
        max_per_day=caps["DAY"],
        confirm_above=reader.confirm_above(),
        models=reader.words("MEIGEN_MODELS"),
        rate_limit=int(reader.number("MEIGEN_RATE_LIMIT", 12, 1, 100_000, whole=True)),
        poll_interval=reader.number("MEIGEN_POLL_INTERVAL", 3, 0.05, 60),
        http_token=reader.secret("MEIGEN_HTTP_TOKEN"),
        log_level=reader.log_level(),
        problems=tuple(reader.problems),
    )


def layered(beneath: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process laid over others, such as those of a client."""
    return {**beneath, **os.environ}


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that are set, as they may be shown: a secret by its length."""
    reader = _Reader(environment)
    values = {setting.name: reader.text(setting.name) for setting in SETTINGS}
    return {
        name: f"set, {len(value)} characters" if name in SECRET else _SECRETS.sub("***", value)
        for name, value in values.items()
        if value is not None
    }


def network(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy and certificate variables that are set, without passwords."""
    names = {name for proxy in _PROXIES for name in (proxy, proxy.lower())} | set(_CERTIFICATES)
    return {
        name: _PASSWORD.sub("***@", environment[name])
        for name in sorted(names)
        if environment.get(name)
    }


def client_folders() -> dict[str, Path]:
    """Return the folders that some clients let a variable of their own name."""
    names = {"claude-code": "CLAUDE_CONFIG_DIR", "codex": "CODEX_HOME"}
    return {
        client: Path(os.environ[name]) for client, name in names.items() if os.environ.get(name)
    }


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        value = self._environment.get(name, "").strip()
        return None if not value or _PLACEHOLDER.fullmatch(value) else value

    def _bad(self, name: str, value: str, allowed: str) -> None:
        shown = _SECRETS.sub("***", value)
        self.problems.append(f'{name} is "{shown}"; allowed: {allowed}.')

    def misspelt(self) -> None:
        """Name the variables that were surely meant as one of ours: a cap must not be lost so."""
        names = [setting.name for setting in SETTINGS]
        for name in sorted(self._environment):
            meant = difflib.get_close_matches(name, names, 1, 0.9)
            if name.startswith("MEIGEN_") and name not in names and meant and self.text(name):
                self.problems.append(f"{name} is no setting; did you mean {meant[0]}?")

    def token(self) -> str | None:
        if self.text("MEIGEN_API_TOKEN") is not None:
            return self.secret("MEIGEN_API_TOKEN")
        name = "MEIGEN_API_TOKEN_FILE"
        value = self.text(name)
        path = self.folder(name)
        if value is None or path is None:
            return None
        token = ""
        try:
            with path.open(encoding="utf-8-sig") as file:
                token = file.read(_LONGEST_TOKEN_FILE).strip()
        except (OSError, ValueError):
            pass
        if not token:
            self._bad(name, value, "a readable text file with the token")
            return None
        return self._secret(name, token)

    def secret(self, name: str) -> str | None:
        value = self.text(name)
        return None if value is None else self._secret(name, value)

    def _secret(self, name: str, value: str) -> str | None:
        if value.isascii() and value.isprintable() and " " not in value:
            return value
        self.problems.append(f"{name} has characters that no token has; paste the token again.")
        return None

    def origin(self, name: str, default: str) -> str:
        value = self.text(name)
        if value is None:
            return default
        found = _origin(value.lower())
        if found is None:
            self._bad(
                name,
                value,
                "an origin such as https://www.meigen.ai (http for loopback only), without a path",
            )
        return found or default

    def folder(self, name: str) -> Path | None:
        value = self.text(name)
        return None if value is None else self._path(name, value)

    def folders(self, name: str) -> tuple[Path, ...]:
        parts = [part.strip() for part in (self.text(name) or "").split(os.pathsep)]
        found = [self._path(name, part) for part in parts if part]
        return tuple(path for path in found if path is not None)

    def _path(self, name: str, value: str) -> Path | None:
        try:
            return Path(value).expanduser().absolute()
        except (RuntimeError, OSError):  # ~ of somebody whom this machine does not know
            self._bad(name, value, "a path on this machine")
            return None

    def output_dir(self) -> Path | None:
        if (self.text("MEIGEN_OUTPUT_DIR") or "").lower() == "off":
            return None
        return self.folder("MEIGEN_OUTPUT_DIR") or _default_output_dir()

    def words(self, name: str) -> tuple[str, ...]:
        parts = [part.strip() for part in (self.text(name) or "").split(",")]
        return tuple(part for part in parts if part)

    def credits(self, name: str) -> Decimal | None:
        value = self.text(name)
        if value is None:
            return None
        amount = _decimal(value)
        if amount is None:
            self._bad(name, value, "a number of credits, 0 or more")
        return amount

    def confirm_above(self) -> Decimal | None:
        value = self.text("MEIGEN_CONFIRM_ABOVE")
        if value is None:
            return Decimal(100)
        if value.lower() == "off":
            return None
        amount = _decimal(value)
        if amount is None:
            self._bad("MEIGEN_CONFIRM_ABOVE", value, "a number of credits, 0 or more, or off")
            return Decimal(100)
        return amount

    def number(
        self, name: str, default: float, low: float, high: float, *, whole: bool = False
    ) -> float:
        value = self.text(name)
        if value is None:
            return default
        amount = _decimal(value)
        if amount is None or not low <= float(amount) <= high or (whole and amount != int(amount)):
            kind = "a whole number" if whole else "a number"
            self._bad(name, value, f"{kind} from {low} to {high}")
            return default
        return float(amount)

    def log_level(self) -> str:
        value = self.text("MEIGEN_LOG_LEVEL") or "warning"
        if value.lower() not in ("debug", "info", "warning", "error"):
            self._bad("MEIGEN_LOG_LEVEL", value, "debug, info, warning or error")
            return "warning"
        return value.lower()


def _decimal(value: str) -> Decimal | None:
    return Decimal(value) if _NUMBER.fullmatch(value) else None


def _origin(value: str) -> str | None:
    """Return an origin in its one spelling, since it is part of an account's name."""
    found = _ORIGIN.fullmatch(value)
    if found is None:
        return None
    scheme, host, standard = found[1], found[2], 443 if found[1] == "https" else 80
    port = int(found[3] or standard)
    try:
        host = f"[{IPv6Address(host[1:-1])}]" if host.startswith("[") else host
    except ValueError:
        return None
    if not 0 < port < 2**16 or (scheme == "http" and not is_loopback(value)):
        return None
    return f"{scheme}://{host}" + ("" if port == standard else f":{port}")


def _default_data_dir() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415  # only without MEIGEN_DATA_DIR

    return user_data_path("meigen-mcp", appauthor=False)


def _default_output_dir() -> Path:
    from platformdirs import user_pictures_path  # noqa: PLC0415  # only without MEIGEN_OUTPUT_DIR

    return user_pictures_path() / "MeiGen"
