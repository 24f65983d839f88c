"""The settings, and the only reader of the environment.

`SETTINGS` is the one list of them: the README table is made from it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

_PLACEHOLDER = re.compile(r"^\$\{[^}]*\}$")


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
        f"Folders that local references may come from, separated by `{os.pathsep}`.",
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
        "Ask you above this quote and for unknown prices; `off` never asks.",
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

    @property
    def own_origin(self) -> str | None:
        """The API's origin when it is loopback: its URLs then count as public."""
        return self.base_url if is_loopback(self.base_url) else None


def is_loopback(url: str) -> bool:
    """Say whether the literal host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: the variables; by default those of this process.

    Returns:
        The settings; a bad value is replaced by its default and described in `problems`.
    """
    reader = _Reader(os.environ if environment is None else environment)
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
        http_token=reader.text("MEIGEN_HTTP_TOKEN"),
        log_level=reader.log_level(),
        problems=tuple(reader.problems),
    )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        value = self._environment.get(name, "").strip()
        return None if not value or _PLACEHOLDER.match(value) else value

    def _bad(self, name: str, value: str, allowed: str) -> None:
        self.problems.append(f'{name} is "{value}"; allowed: {allowed}.')

    def token(self) -> str | None:
        token = self.text("MEIGEN_API_TOKEN")
        path = self.text("MEIGEN_API_TOKEN_FILE")
        if token is None and path is not None:
            try:
                token = Path(path).expanduser().read_text(encoding="utf-8").strip() or None
            except (OSError, UnicodeDecodeError):
                self._bad("MEIGEN_API_TOKEN_FILE", path, "a readable text file with the token")
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            self.problems.append(
                "MEIGEN_API_TOKEN has characters that no token has; paste it again from meigen.ai."
            )
            return None
        return token

    def origin(self, name: str, default: str) -> str:
        value = self.text(name)
        if value is None:
            return default
        allowed = "an origin such as https://www.meigen.ai (http for loopback only), without a path"
        try:
            parts = urlsplit(value.rstrip("/"))
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            self._bad(name, value, allowed)
            return default
        plain = parts.scheme == "http" and is_loopback(value)
        if (
            not (parts.scheme == "https" or plain)
            or not parts.hostname
            or parts.path
            or parts.query
            or parts.fragment
            or parts.username
        ):
            self._bad(name, value.replace(parts.password or "\0", "***"), allowed)
            return default
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}{port}"

    def folder(self, name: str) -> Path | None:
        value = self.text(name)
        return None if value is None else Path(value).expanduser().absolute()

    def folders(self, name: str) -> tuple[Path, ...]:
        value = self.text(name) or ""
        parts = [part.strip() for part in value.split(os.pathsep)]
        return tuple(Path(part).expanduser().absolute() for part in parts if part)

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
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def _default_data_dir() -> Path:
    from platformdirs import user_data_path

    return user_data_path("meigen-mcp", appauthor=False)


def _default_output_dir() -> Path:
    from platformdirs import user_pictures_path

    return user_pictures_path() / "MeiGen"
