"""The variables that set this program up, and how each is read.

`SETTINGS` is the one list of them: the defaults and the README table come from it. A placeholder
that is still there was filled in by nobody, and no folder is relative: clients start a server in
any.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from meigen_mcp.errors import Problem
from meigen_mcp.foreign import one_line
from meigen_mcp.origins import read_origin
from meigen_mcp.system import pictures_folder
from meigen_mcp.wording import listed

_LEFT_EMPTY = re.compile(r"\$\{user_config\.[^}]*\}")
"""What a bundle's host passes for a question that was not answered."""
_BRACKETED = re.compile(
    r"[$#%@]\{|\{\{|\$\(|\[\[|\{(?:env|file|input|config|secret)s?[:.]|<[%A-Za-z_][^<>/]*>|`[^`]*`"
)
"""How programs write what they fill in, in brackets that no value of ours has."""
_PLACEHOLDER = re.compile(rf"{_BRACKETED.pattern}|\$[A-Za-z_]|%[A-Za-z_]\w*%")
_STANDS_FOR = re.compile(r"\w+://|[{\[].*[}\]]$|@\w+@$")
"""Where a store keeps a secret, or a name that a template was to replace."""
_MODEL_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_NUMBER = re.compile(r"(?=\.?\d)\d{0,12}(?:\.\d{0,9})?", re.ASCII)
_SECRETS = re.compile(r"(?<=://).+(?=@)|[^/]+(?=@)|meigen_sk_\S*")
_DATABASE = re.compile(r"postgres(?:ql)?://\S+", re.ASCII)
_URL_PATH = re.compile(r"[\w.~!$&'()*+,;=:@%/-]*", re.ASCII)
_LONGEST_TOKEN_FILE = 4096
LEAST_KEY = 32
"""Bytes of a key that seals what clients carry from one replica to another."""
MOST_DAYS = 36_500
SECRET = (
    *("MEIGEN_API_TOKEN", "MEIGEN_HTTP_TOKEN"),
    *("MEIGEN_DATABASE_URL", "MEIGEN_DATABASE_DIRECT_URL"),  # with a password in them
)
LOG_LEVELS = ("debug", "info", "warning", "error")


class Setting(NamedTuple):
    """A variable.

    Attributes:
        about: what it means, as the README shows it.
        default: the value that counts where none is set; empty: there is none.
        unset: what then is so, in words.
    """

    name: str
    about: str
    default: str = ""
    unset: str = ""


SETTINGS = (
    Setting("MEIGEN_API_TOKEN", "Your token (`meigen_sk_...`). Without it: quotes only."),
    Setting("MEIGEN_API_TOKEN_FILE", "A file that holds the token, instead of the token."),
    Setting("MEIGEN_BASE_URL", "Origin of the API.", "https://www.meigen.ai"),
    Setting("MEIGEN_UPLOAD_URL", "Origin of the upload gateway.", "https://gen.meigen.ai"),
    Setting("MEIGEN_DATA_DIR", "Ledger and caches.", unset="the user data folder"),
    Setting("MEIGEN_OUTPUT_DIR", "Where media are saved; `off`: not.", unset="MeiGen in Pictures"),
    Setting(
        "MEIGEN_KEEP_DAYS",
        "Days after which a saved file is deleted, unless you changed it; its record says so.",
        unset="for ever",
    ),
    Setting(
        "MEIGEN_MEDIA_DIR",
        "Where `serve --http` keeps media and previews, instead of the output folder, and gives"
        " signed URLs to them (docs/team.md).",
        unset="MeiGen's own URLs",
    ),
    Setting(
        "MEIGEN_MEDIA_URL",
        "Origin under which those URLs are opened.",
        unset="that of MEIGEN_OAUTH_RESOURCE",
    ),
    Setting(
        "MEIGEN_METADATA", "What files say of themselves: `all`, `mark`, `off`.", unset="by format"
    ),
    Setting(
        "MEIGEN_REFERENCE_DIRS",
        "Folders for local references besides the output folder, separated as in PATH.",
    ),
    Setting(
        "MEIGEN_MAX_CREDITS_PER_GENERATION",
        "Hard cap for one call; 0 spends nothing.",
        unset="no cap",
    ),
    Setting(
        "MEIGEN_MAX_CREDITS_PER_DAY",
        "Hard cap for 24 hours, over all chat clients.",
        unset="no cap",
    ),
    Setting(
        "MEIGEN_CONFIRM_ABOVE",
        "Ask you when a quote, alone or with what the last hour spent unasked, is above this, and"
        " for unknown prices; `off` never asks.",
        "100",
    ),
    Setting("MEIGEN_MODELS", "Model ids that may be used, separated by commas.", unset="all"),
    Setting("MEIGEN_RATE_LIMIT", "Submissions a minute, 1-100000, over all chat clients.", "12"),
    Setting("MEIGEN_POLL_INTERVAL", "Seconds between looks, 0.05-60.", "3"),
    Setting(
        "MEIGEN_HTTP_TOKEN",
        "Bearer token of the clients of `serve --http`; 24 characters or more for other computers.",
        unset="made once, for this computer",
    ),
    Setting(
        "MEIGEN_DATABASE_URL",
        "PostgreSQL, on which many servers share one ledger (docs/team.md).",
        unset="a file in MEIGEN_DATA_DIR",
    ),
    Setting(
        "MEIGEN_DATABASE_DIRECT_URL",
        "The same database past a pooler in transaction mode.",
        unset="MEIGEN_DATABASE_URL",
    ),
    Setting(
        "MEIGEN_REQUEST_KEYS_FILE",
        "A file with the keys that the servers of one database share, one a line.",
    ),
    Setting(
        "MEIGEN_HTTP_TOKEN_NAME", "The person that this token is, where people sign in.", "scripts"
    ),
    Setting(
        "MEIGEN_OAUTH_ISSUER",
        "The identity provider by which people sign in to `serve --http` (docs/team.md).",
        unset="nobody signs in",
    ),
    Setting("MEIGEN_OAUTH_RESOURCE", "The URL that clients use, such as `https://HOST/mcp`."),
    Setting(
        "MEIGEN_OAUTH_AUDIENCES",
        "The audiences that a token may have, separated by commas.",
        unset="MEIGEN_OAUTH_RESOURCE",
    ),
    Setting("MEIGEN_OAUTH_KEYS_URL", "The provider's keys (JWKS).", unset="by discovery"),
    Setting("MEIGEN_OAUTH_SCOPES", "Scopes that a token must have, separated by commas."),
    Setting("MEIGEN_OAUTH_SCOPE_CLAIMS", "Claims that may hold the scopes.", "scope, scp"),
    Setting(
        "MEIGEN_OAUTH_NAME_CLAIMS",
        "Claims with a name of the person for whoever looks after the team.",
        "preferred_username, name",
    ),
    Setting("MEIGEN_OAUTH_LEEWAY", "Seconds by which clocks may differ, 0-300.", "30"),
    Setting(
        "MEIGEN_TELEMETRY",
        "`otlp`: spans and metrics go where the OTEL_EXPORTER_OTLP_* variables say (docs/team.md).",
        "off",
    ),
    Setting("MEIGEN_TASKS", "`off`: no client is given a task (docs/clients.md).", "on"),
    Setting("MEIGEN_LOG_LEVEL", "debug, info, warning or error; logs go to stderr.", "warning"),
)
_DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


class Reader:
    """Reads variables one by one, and notes what is wrong with each."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[Problem] = []

    def given(self, name: str) -> str | None:
        """Return what a variable was set to."""
        value = self._environment.get(name, "").strip()
        return None if not value or _LEFT_EMPTY.fullmatch(value) else value

    def text(self, name: str) -> str | None:
        """Return what a variable was set to, or else its default."""
        return self.given(name) or _DEFAULTS[name] or None

    def _bad(self, name: str, value: str, fix: str) -> None:
        if _PLACEHOLDER.search(value):
            fix = f"{fix}; nothing fills in a placeholder here"
        shown = one_line(hide(value))
        self.problems.append(Problem(name, f'"{shown}" is not allowed', fix))

    def misspelt(self) -> None:
        """Name the variables that were surely meant as one of ours: a cap must not be lost so."""
        for name in sorted(self._environment):
            meant = difflib.get_close_matches(name, _DEFAULTS, 1, 0.9)
            if name.startswith("MEIGEN_") and name not in _DEFAULTS and meant and self.given(name):
                self.problems.append(Problem(name, "there is no such setting", f"set {meant[0]}"))

    def database(self, name: str) -> str | None:
        """Return where a database is; what is wrong with it is said without its password."""
        value = self.text(name)
        if value is None or _DATABASE.fullmatch(value):
            return value
        wrong = "it is no address of a PostgreSQL database"
        fix = "set postgresql://USER:PASSWORD@HOST/NAME, without a space"
        self.problems.append(Problem(name, wrong, fix))
        return None

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the keys in a file: the first seals, and all open."""
        path = self.path(name)
        if path is None:
            return ()
        try:
            lines = path.read_text(encoding="utf-8-sig").split()
        except (OSError, ValueError):
            lines = []
        if lines and all(len(line.encode()) >= LEAST_KEY for line in lines):
            return tuple(lines)
        fix = f"name a readable text file with keys of at least {LEAST_KEY} bytes, one a line"
        self._bad(name, self.text(name) or "", fix)
        return ()

    def url(self, name: str) -> str | None:
        """Return a URL as it is written: it is compared byte by byte."""
        value = self.text(name)
        if value is None:
            return None
        scheme, _, rest = value.partition("://")
        host, slash, path = rest.partition("/")
        origin = read_origin(f"{scheme}://{host}".lower())
        if origin is not None and (not slash or _URL_PATH.fullmatch(path)):
            return value
        fix = "set a URL such as https://HOST/PATH (http for loopback only), without ? and #"
        self._bad(name, value, fix)
        return None

    def words(self, name: str) -> tuple[str, ...]:
        """Return some, separated by commas or spaces."""
        value = self.text(name) or ""
        if _PLACEHOLDER.search(value) or not (value.isascii() and value.isprintable()):
            self._bad(name, value, "list them, separated by commas")
            return ()
        return tuple(value.replace(",", " ").split())

    def token(self) -> str | None:
        """Return the token, or what its file holds."""
        if self.text("MEIGEN_API_TOKEN") is not None:
            return self.secret("MEIGEN_API_TOKEN")
        name = "MEIGEN_API_TOKEN_FILE"
        path = self.path(name)
        if path is None:
            return None
        token = ""
        try:
            with path.open(encoding="utf-8-sig") as file:
                token = file.read(_LONGEST_TOKEN_FILE).strip()
        except (OSError, ValueError):
            pass
        if not token:
            self._bad(name, self.text(name) or "", "name a readable text file with the token")
            return None
        return self._secret(name, token)

    def secret(self, name: str) -> str | None:
        """Return what goes into a header, and is shown nowhere."""
        value = self.text(name)
        return None if value is None else self._secret(name, value)

    def _secret(self, name: str, value: str) -> str | None:
        if _PLACEHOLDER.match(value) or _BRACKETED.search(value):
            self._bad(name, value, "set the token itself")
        elif re.fullmatch(r"[!-~]+", value) and not _STANDS_FOR.match(value):
            return value
        else:
            wrong = Problem(name, "it has characters that no token has", "paste the token again")
            self.problems.append(wrong)
        return None

    def origin(self, name: str) -> str:
        """Return where an API is."""
        value = self.text(name) or ""
        found = read_origin(value.lower())
        if found is None:
            self._bad(
                name,
                value,
                "set an origin such as https://www.meigen.ai (http for loopback only), without a"
                " path",
            )
        return found or _DEFAULTS[name]

    def path(self, name: str) -> Path | None:
        """Return an absolute path."""
        value = self.text(name)
        return None if value is None else self._path(name, value)

    def folder(self, name: str, usual: Callable[[], Path]) -> Path | None:
        """Return the folder that a variable names, or else the usual one; None if none is known."""
        folder = self.path(name) or usual()
        if folder.is_absolute() and _is_text(str(folder)):
            return folder
        if self.text(name) is None:
            wrong = "it is not set, and no home folder is known to take one in"
            self.problems.append(Problem(name, wrong, "set an absolute path, in UTF-8"))
        return None

    def folders(self, name: str) -> tuple[Path, ...]:
        """Return several, separated as in PATH."""
        parts = [part.strip() for part in (self.text(name) or "").split(os.pathsep)]
        found = [self._path(name, part) for part in parts if part]
        return tuple(path for path in found if path is not None)

    def _path(self, name: str, value: str) -> Path | None:
        try:
            path = Path(value).expanduser()
        except RuntimeError:  # ~ of somebody whom this machine does not know
            path = Path(value)
        if path.is_absolute() and _is_text(value) and not _PLACEHOLDER.search(value):
            return path
        self._bad(name, value, "set an absolute path, in UTF-8")
        return None

    def media_origin(self, signed_in_at: str | None) -> str | None:
        """Return where the URLs of a media folder lead; without any, nobody could open them."""
        name = "MEIGEN_MEDIA_URL"
        if self.given(name) is not None:
            return self.origin(name) or None
        if self.given("MEIGEN_MEDIA_DIR") is None:
            return None
        if signed_in_at is None:
            wrong = "nobody could open what lies there"
            fix = f"set {name} to the origin that clients use, such as https://HOST, or unset this"
            self.problems.append(Problem("MEIGEN_MEDIA_DIR", wrong, fix))
            return None
        scheme, _, rest = signed_in_at.partition("://")
        return read_origin(f"{scheme}://{rest.partition('/')[0]}".lower())

    def output_dir(self) -> Path | None:
        """Return where media are saved; None: nowhere."""
        if (self.text("MEIGEN_OUTPUT_DIR") or "").lower() == "off":
            return None
        return self.folder("MEIGEN_OUTPUT_DIR", pictures_folder)

    def model_ids(self, name: str) -> tuple[str, ...]:
        """Return ids, separated by commas."""
        value = self.text(name)
        parts = [part for part in map(str.strip, (value or "").split(",")) if part]
        ids = tuple(part for part in parts if _MODEL_ID.fullmatch(part))
        if value is not None and (not ids or len(ids) < len(parts)):
            self._bad(name, value, "list model ids, separated by commas")
        return ids

    def credits(self, name: str, *, may_be_off: bool = False) -> Decimal | None:
        """Return a limit on spending; one that cannot be read spends nothing."""
        value = self.text(name)
        if value is None or (may_be_off and value.lower() == "off"):
            return None
        amount = read_credits(value)
        if amount is None:
            fix = "set a number of credits, 0 or more" + (", or off" if may_be_off else "")
            self._bad(name, value, fix)
        return Decimal(0) if amount is None else amount

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float:
        """Return a number between two; what is none counts as the default."""
        value = self.text(name) or ""
        amount = read_credits(value)
        if amount is None or not low <= float(amount) <= high or (whole and amount != int(amount)):
            kind = "a whole number" if whole else "a number"
            self._bad(name, value, f"set {kind} from {low} to {high}")
            return float(_DEFAULTS[name])
        return float(amount)

    def days(self, name: str) -> float | None:
        """Return a number of days; None, which is no end, also for one that cannot be read."""
        value = self.text(name)
        amount = None if value is None else read_credits(value)
        if value is not None and (amount is None or not 1 <= amount <= MOST_DAYS):
            self._bad(name, value, f"set a number of days from 1 to {MOST_DAYS}")
            return None
        return None if amount is None else float(amount)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return one of some words; another counts as the default."""
        value = (self.text(name) or "").lower()
        if value and value not in allowed:
            self._bad(name, self.text(name) or "", f"set {listed(allowed)}")
            return _DEFAULTS[name]
        return value


def hide(value: str) -> str:
    """Return a value without what may be a secret in it."""
    return _SECRETS.sub("***", value)


def read_credits(value: str) -> Decimal | None:
    """Return a number as a setting may write it, or None for what is none."""
    return Decimal(value) if _NUMBER.fullmatch(value) else None


def _is_text(path: str) -> bool:
    """Say whether a path can be written down and used: it is UTF-8, without NUL."""
    return "\0" not in path and not any("\ud800" <= char <= "\udfff" for char in path)
