"""Every variable: its default, good values, and bad ones, each named with what is allowed."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platformdirs import user_data_path, user_pictures_path

from meigen_mcp.errors import Problem
from meigen_mcp.foreign import one_line
from meigen_mcp.origins import is_loopback
from meigen_mcp.settings import Settings, SignIn, load, network_variables, shown
from meigen_mcp.variables import SETTINGS

UNHURRIED = settings(deadline=None)
TOKEN = "meigen_sk_" + "s3cret-0" * 4
DEFAULTS: dict[str, Any] = {
    "token": None,
    "base_url": "https://www.meigen.ai",
    "upload_url": "https://gen.meigen.ai",
    "data_dir": user_data_path("meigen-mcp", appauthor=False),
    "output_dir": user_pictures_path() / "MeiGen",
    "reference_dirs": (),
    "max_per_generation": None,
    "max_per_day": None,
    "confirm_above": Decimal(100),
    "models": (),
    "rate_limit": 12,
    "poll_interval": 3,
    "http_token": None,
    "log_level": "warning",
    "metadata": "",
    "keep_days": None,
    "telemetry": False,
    "media_dir": None,
    "media_url": None,
    "tasks": True,
    "database_url": None,
    "database_direct_url": None,
    "request_keys": (),
    "http_token_name": "scripts",
    "sign_in": None,
    "problems": (),
    "discreet": False,
    "sandbox": None,
}
DATABASE = "postgresql://me:pa/55@db.example:5433/meigen?sslmode=require"
ORIGIN = "set an origin such as https://www.meigen.ai (http for loopback only), without a path"
CREDITS = "set a number of credits, 0 or more"
FOLDER = "set an absolute path, in UTF-8"
IDS = "list model ids, separated by commas"
UNFILLED = "; nothing fills in a placeholder here"


def facts(settings: Settings) -> dict[str, Any]:
    """Return all settings by name."""
    return {field.name: getattr(settings, field.name) for field in fields(Settings)}


class Recording(Mapping[str, str]):
    """An environment that remembers what was asked for."""

    def __init__(self, inner: Mapping[str, str]) -> None:
        self._inner = inner
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._inner[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


def test_the_list_of_settings_is_what_is_read() -> None:
    """Neither more nor less, whether a variable is set or not."""
    names = [setting.name for setting in SETTINGS]
    unset, every = Recording({}), Recording(dict.fromkeys(names, "1"))
    load(unset)
    load(every)
    load(files := Recording({"MEIGEN_API_TOKEN_FILE": "/nowhere"}))
    assert len(names) == len(set(names))
    assert unset.asked == set(names)
    assert every.asked | files.asked == set(names)


def test_every_setting_is_explained() -> None:
    """The README table is made of it."""
    assert all(setting.about.endswith(".") for setting in SETTINGS)
    assert [s.name for s in SETTINGS if s.default and s.unset] == []


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other variables play no part."""
    monkeypatch.setenv("MEIGEN_RATE_LIMIT", "7")
    assert load().rate_limit == 7


@pytest.mark.parametrize("value", [None, "", "  ", "${user_config.x}", " ${user_config.a_b} "])
def test_what_is_unset_has_its_default(value: str | None) -> None:
    """A question of the bundle that was not answered counts as unset, in every variable."""
    environment = {} if value is None else {setting.name: value for setting in SETTINGS}
    assert facts(load(environment)) == DEFAULTS


GOOD: list[tuple[str, str, str, Any]] = [
    ("MEIGEN_API_TOKEN", TOKEN, "token", TOKEN),
    ("MEIGEN_API_TOKEN", f" {TOKEN}\n", "token", TOKEN),
    ("MEIGEN_BASE_URL", "https://api.example", "base_url", "https://api.example"),
    ("MEIGEN_BASE_URL", "https://api.example/", "base_url", "https://api.example"),
    ("MEIGEN_BASE_URL", "HTTPS://API.Example:443//", "base_url", "https://api.example"),
    ("MEIGEN_BASE_URL", "https://api.example:8443", "base_url", "https://api.example:8443"),
    ("MEIGEN_BASE_URL", "http://127.0.0.1:8000", "base_url", "http://127.0.0.1:8000"),
    ("MEIGEN_BASE_URL", "http://127.9.9.9:80/", "base_url", "http://127.9.9.9"),
    ("MEIGEN_BASE_URL", "http://localhost:8000/", "base_url", "http://localhost:8000"),
    ("MEIGEN_BASE_URL", "http://[::1]:8000", "base_url", "http://[::1]:8000"),
    ("MEIGEN_BASE_URL", "https://[2606:0:0::1]", "base_url", "https://[2606::1]"),
    ("MEIGEN_UPLOAD_URL", "https://up.example/", "upload_url", "https://up.example"),
    ("MEIGEN_DATA_DIR", "/srv/meigen", "data_dir", Path("/srv/meigen").absolute()),
    ("MEIGEN_DATA_DIR", "~/meigen", "data_dir", Path.home() / "meigen"),
    ("MEIGEN_OUTPUT_DIR", "~/Bilder", "output_dir", Path.home() / "Bilder"),
    ("MEIGEN_OUTPUT_DIR", "off", "output_dir", None),
    ("MEIGEN_OUTPUT_DIR", " OFF ", "output_dir", None),
    ("MEIGEN_REFERENCE_DIRS", "/a", "reference_dirs", (Path("/a"),)),
    (
        "MEIGEN_REFERENCE_DIRS",
        os.pathsep.join(["/a", " ~/b ", "", "/a b"]),
        "reference_dirs",
        (Path("/a"), Path.home() / "b", Path("/a b")),
    ),
    ("MEIGEN_MAX_CREDITS_PER_GENERATION", "0", "max_per_generation", Decimal(0)),
    ("MEIGEN_MAX_CREDITS_PER_GENERATION", "12.5", "max_per_generation", Decimal("12.5")),
    ("MEIGEN_MAX_CREDITS_PER_DAY", "0", "max_per_day", Decimal(0)),
    ("MEIGEN_MAX_CREDITS_PER_DAY", "999999999999", "max_per_day", Decimal(999999999999)),
    ("MEIGEN_CONFIRM_ABOVE", "0", "confirm_above", Decimal(0)),
    ("MEIGEN_CONFIRM_ABOVE", ".5", "confirm_above", Decimal("0.5")),
    ("MEIGEN_CONFIRM_ABOVE", "off", "confirm_above", None),
    ("MEIGEN_CONFIRM_ABOVE", "Off", "confirm_above", None),
    ("MEIGEN_MODELS", "veo-3.1", "models", ("veo-3.1",)),
    ("MEIGEN_MODELS", " a, ,b ,", "models", ("a", "b")),
    ("MEIGEN_RATE_LIMIT", "1", "rate_limit", 1),
    ("MEIGEN_RATE_LIMIT", "100000", "rate_limit", 100_000),
    ("MEIGEN_RATE_LIMIT", "12.0", "rate_limit", 12),
    ("MEIGEN_POLL_INTERVAL", "0.05", "poll_interval", 0.05),
    ("MEIGEN_POLL_INTERVAL", "60", "poll_interval", 60.0),
    ("MEIGEN_POLL_INTERVAL", "2.5", "poll_interval", 2.5),
    ("MEIGEN_HTTP_TOKEN", "letmein", "http_token", "letmein"),
    ("MEIGEN_HTTP_TOKEN_NAME", "night shift", "http_token_name", "night shift"),
    ("MEIGEN_KEEP_DAYS", "30", "keep_days", 30.0),
    ("MEIGEN_METADATA", "all", "metadata", "all"),
    ("MEIGEN_METADATA", "Mark", "metadata", "mark"),
    ("MEIGEN_METADATA", "off", "metadata", "off"),
    ("MEIGEN_DATABASE_URL", f"{DATABASE} ", "database_url", DATABASE),
    (
        "MEIGEN_DATABASE_DIRECT_URL",
        "postgres:///m?host=/s",
        "database_direct_url",
        "postgres:///m?host=/s",
    ),
    ("MEIGEN_TASKS", "Off", "tasks", False),
    ("MEIGEN_TASKS", "on", "tasks", True),
    ("MEIGEN_LOG_LEVEL", "debug", "log_level", "debug"),
    ("MEIGEN_LOG_LEVEL", "INFO", "log_level", "info"),
    ("MEIGEN_LOG_LEVEL", "warning", "log_level", "warning"),
    ("MEIGEN_LOG_LEVEL", "error", "log_level", "error"),
]


OAUTH = {
    "MEIGEN_OAUTH_ISSUER": "https://ID.example/tenant/",
    "MEIGEN_OAUTH_RESOURCE": "https://pictures.example/mcp",
}


def test_urls_of_kept_media_lead_to_where_clients_are() -> None:
    """To the host of the URL that people sign in at, unless another one is set."""
    folder = {"MEIGEN_MEDIA_DIR": "/srv/media"}
    own = {"MEIGEN_MEDIA_URL": "https://media.example/"}
    bare = load(folder)
    assert (bare.media_dir, bare.media_url) == (Path("/srv/media").absolute(), None)
    assert bare.problems == (
        Problem(
            "MEIGEN_MEDIA_DIR",
            "nobody could open what lies there",
            "set MEIGEN_MEDIA_URL to the origin that clients use, such as https://HOST, or unset"
            " this",
        ),
    )
    assert load(folder | OAUTH).media_url == "https://pictures.example"
    assert load(folder | OAUTH | own).media_url == "https://media.example"
    assert load(OAUTH).media_url is None
    assert [p.field for p in load(folder | {"MEIGEN_MEDIA_URL": "x"}).problems] == [
        "MEIGEN_MEDIA_URL"
    ]


def test_a_sign_in_is_read() -> None:
    """Its URLs stay as they are written; what a token may be for is the resource, unless set."""
    usual = SignIn(
        issuer="https://ID.example/tenant/",
        resource="https://pictures.example/mcp",
        audiences=("https://pictures.example/mcp",),
        keys_url=None,
        scopes=(),
        scope_claims=("scope", "scp"),
        name_claims=("preferred_username", "name"),
        leeway=30,
    )
    more = {
        "MEIGEN_OAUTH_AUDIENCES": "6f1c, api://meigen",
        "MEIGEN_OAUTH_KEYS_URL": "https://id.example/keys",
        "MEIGEN_OAUTH_SCOPES": "a b,c",
        "MEIGEN_OAUTH_SCOPE_CLAIMS": "roles",
        "MEIGEN_OAUTH_NAME_CLAIMS": "upn",
        "MEIGEN_OAUTH_LEEWAY": "0",
    }
    assert load(OAUTH).sign_in == usual
    assert load(OAUTH | more).sign_in == replace(
        usual,
        audiences=("6f1c", "api://meigen"),
        keys_url="https://id.example/keys",
        scopes=("a", "b", "c"),
        scope_claims=("roles",),
        name_claims=("upn",),
        leeway=0,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ISSUER", "http://id.example"),
        ("ISSUER", "id.example"),
        ("ISSUER", "https://id.example?x=1"),
        ("ISSUER", "https://me@id.example"),
        ("RESOURCE", "https://pictures.example/mcp#x"),
        ("RESOURCE", "${URL}"),
        ("KEYS_URL", "file:///etc/passwd"),
        ("KEYS_URL", "http://10.0.0.1/keys"),
        ("AUDIENCES", "{{audience}}"),
        ("SCOPES", "a\tb"),
        ("LEEWAY", "301"),
        ("LEEWAY", "-1"),
    ],
)
def test_a_bad_sign_in_is_named(name: str, value: str) -> None:
    """With the value, so that nobody looks for another reason."""
    problems = load(OAUTH | {f"MEIGEN_OAUTH_{name}": value}).problems
    assert f"MEIGEN_OAUTH_{name}" in [problem.field for problem in problems]


@pytest.mark.parametrize(("name", "value", "field", "read"), GOOD)
def test_a_good_value_is_read(name: str, value: str, field: str, read: Any) -> None:
    """And nothing else changes."""
    assert facts(load({name: value})) == DEFAULTS | {field: read}


BAD: list[tuple[str, str, str]] = [
    *(
        ("MEIGEN_BASE_URL", url, ORIGIN)
        for url in (
            "www.meigen.ai",
            "http://www.meigen.ai",
            "http://10.0.0.1",
            "http://localhost.example",
            "https://www.meigen.ai/api",
            "https://www.meigen.ai?x=1",
            "https://www.meigen.ai#x",
            "https://www.meigen.ai:99999",
            "https://www.meigen.ai:0",
            "https://www.meigen.ai:x",
            "https://",
            "https://exa mple",
            "https://exämple.de",
            "https://a..b",
            "https://[::1",
            "https://[::1]x",
            "https://[:::]",
            "https://[1.2.3.4]",
            "ftp://www.meigen.ai",
            "file:///etc/passwd",
        )
    ),
    ("MEIGEN_UPLOAD_URL", "http://gen.meigen.ai", ORIGIN),
    *(
        (f"MEIGEN_{name}", path, FOLDER + (UNFILLED if set("{$[<`") & {*path} else ""))
        for name in ("DATA_DIR", "OUTPUT_DIR", "REFERENCE_DIRS", "API_TOKEN_FILE")
        for path in (
            "./x",
            "x",
            "~nobody-has-this-name/x",
            "$HOME/x",
            "${HOME}/x",
            "/srv/${USER}/x",
            "/srv/$USER",
            "${workspaceFolder}/x",
            "${env.X}",
            "{{folder}}",
            "/srv/{env.USER}",
            "/srv/$(whoami)",
            "/srv/#{user}",
            "/srv/@{user}",
            "/srv/%{user}",
            "/srv/[[user]]",
            "/srv/<your folder>",
            "/srv/`whoami`",
            "/srv/\udcff",
            "/srv/\0",
        )
    ),
    *(
        (f"MEIGEN_MAX_CREDITS_PER_{what}", value, CREDITS)
        for what in ("GENERATION", "DAY")
        for value in ("-1", "many", "NaN", "inf", "1e999999", "1_000", "0x10", "1,5", ".", "٣")
    ),
    *(
        (f"MEIGEN_MAX_CREDITS_PER_{what}", value, f"{CREDITS}{UNFILLED}")
        for what in ("GENERATION", "DAY")
        for value in (
            *("${MY_CAP}", "${env:X}", "${input:x}", "$CAP", "%CAP%", "10${user_config.x}"),
            *("{env:CAP}", "{file:./cap}", "#{CAP}", "<your cap>", "<%= cap %>", "[[cap]]"),
        )
    ),
    ("MEIGEN_CONFIRM_ABOVE", "-0.1", f"{CREDITS}, or off"),
    ("MEIGEN_CONFIRM_ABOVE", "never", f"{CREDITS}, or off"),
    ("MEIGEN_CONFIRM_ABOVE", "${X}", f"{CREDITS}, or off{UNFILLED}"),
    ("MEIGEN_MODELS", "${env:X}", IDS + UNFILLED),
    ("MEIGEN_MODELS", ",", IDS),
    ("MEIGEN_API_TOKEN", "${env:X}", f"set the token itself{UNFILLED}"),
    *(
        ("MEIGEN_HTTP_TOKEN", value, f"set the token itself{UNFILLED}")
        for value in ("${input:x}", "{env:MEIGEN_HTTP_TOKEN}", "<a-random-text-of-yours-here>")
    ),
    ("MEIGEN_HTTP_TOKEN", "random-${env:HTTP_TOKEN}", f"set the token itself{UNFILLED}"),
    *(
        ("MEIGEN_RATE_LIMIT", value, "set a whole number from 1 to 100000")
        for value in ("0", "100001", "1.5", "-1", "x", "inf")
    ),
    *(
        ("MEIGEN_POLL_INTERVAL", value, "set a number from 0.05 to 60")
        for value in ("0.04", "60.1", "0", "-1", "x", "nan")
    ),
    ("MEIGEN_LOG_LEVEL", "trace", "set debug, info, warning or error"),
    ("MEIGEN_KEEP_DAYS", "0", "set a number of days from 1 to 36500"),
    ("MEIGEN_METADATA", "some", "set all, mark or off"),
    ("MEIGEN_TASKS", "no", "set on or off"),
]
LIMITS = {
    "MEIGEN_MAX_CREDITS_PER_GENERATION": "max_per_generation",
    "MEIGEN_MAX_CREDITS_PER_DAY": "max_per_day",
    "MEIGEN_CONFIRM_ABOVE": "confirm_above",
}


@pytest.mark.parametrize(("name", "value", "fix"), BAD)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: str, fix: str) -> None:
    """Its default stands in for it, or where it limits spending a limit that spends nothing."""
    shown = one_line(value)  # as what others wrote is
    changed: dict[str, Any] = {"problems": (Problem(name, f'"{shown}" is not allowed', fix),)}
    changed |= {LIMITS[name]: Decimal(0)} if name in LIMITS else {}
    assert facts(load({name: value})) == DEFAULTS | changed


def test_a_bad_value_of_many_is_named_alone() -> None:
    """The others count."""
    found = load({"MEIGEN_REFERENCE_DIRS": os.pathsep.join(["/a", "b"])})
    problem = Problem("MEIGEN_REFERENCE_DIRS", '"b" is not allowed', FOLDER)
    assert facts(found) == DEFAULTS | {"reference_dirs": (Path("/a"),), "problems": (problem,)}
    found = load({"MEIGEN_MODELS": "veo-3.1,${MINE}"})
    problem = Problem("MEIGEN_MODELS", '"veo-3.1,${MINE}" is not allowed', IDS + UNFILLED)
    assert facts(found) == DEFAULTS | {"models": ("veo-3.1",), "problems": (problem,)}


@pytest.mark.parametrize("home", ["", "relative", "/home/\udcff"])
def test_without_a_home_the_folders_are_asked_for(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made in the folder where the server happens to be started."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home or "~", 1))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_PICTURES_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HOME", raising=False)
    found = load({})
    wrong = "it is not set, and no home folder is known to take one in"
    assert found.problems == (
        Problem("MEIGEN_DATA_DIR", wrong, FOLDER),
        Problem("MEIGEN_OUTPUT_DIR", wrong, FOLDER),
    )
    assert (found.data_dir.is_dir(), found.output_dir) == (False, None)
    with pytest.raises(OSError, match="meigen-mcp"):
        found.data_dir.mkdir(parents=True)
    given = load({"MEIGEN_DATA_DIR": "/data", "MEIGEN_OUTPUT_DIR": "off"})
    assert (given.data_dir, given.problems) == (Path("/data"), ())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MEIGEN_MAX_CREDIT_PER_DAY", "MEIGEN_MAX_CREDITS_PER_DAY"),
        ("MEIGEN_MAX_CREDITS_PER_DAYS", "MEIGEN_MAX_CREDITS_PER_DAY"),
        ("MEIGEN_CONFIRM_ABOV", "MEIGEN_CONFIRM_ABOVE"),
    ],
)
def test_a_misspelt_setting_is_a_problem(written: str, meant: str) -> None:
    """Else somebody believes in a cap that holds nothing; what is nothing like ours is theirs."""
    found = load({written: "10", "MEIGEN_WORKSHOP": "b", "PER_DAY": "10"})
    assert found.problems == (Problem(written, "there is no such setting", f"set {meant}"),)


def test_all_problems_are_told_at_once() -> None:
    """In the order of the settings."""
    found = load(
        {
            "MEIGEN_API_TOKEN": "two words",
            "MEIGEN_BASE_URL": "x",
            "MEIGEN_MAX_CREDITS_PER_DAY": "x",
            "MEIGEN_LOG_LEVEL": "x",
        }
    )
    assert [problem.field for problem in found.problems] == [
        "MEIGEN_API_TOKEN",
        "MEIGEN_BASE_URL",
        "MEIGEN_MAX_CREDITS_PER_DAY",
        "MEIGEN_LOG_LEVEL",
    ]


# --- tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MEIGEN_API_TOKEN", "MEIGEN_HTTP_TOKEN"])
@pytest.mark.parametrize(
    "value",
    [
        *("meigen_sk_two words", "meigen_sk_ünicode", "meigen_sk_\x07"),
        *("op://Private/meigen-mcp/http-token", "vault://kv/meigen#token", "@MEIGEN_TOKEN@"),
        *("{MEIGEN_HTTP_TOKEN_OF_THE_TEAM}", "[the-token-of-this-server]"),
    ],
)
def test_a_token_with_other_characters_is_refused_and_not_shown(name: str, value: str) -> None:
    """It could not be sent in a header, or says where it lies, and then stands in every copy."""
    problem = Problem(name, "it has characters that no token has", "paste the token again")
    assert facts(load({name: value})) == DEFAULTS | {"problems": (problem,)}


@pytest.mark.parametrize("written", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n\r\n", f"\ufeff{TOKEN}"])
def test_a_token_can_come_from_a_file(written: str, tmp_path: Path) -> None:
    """With the line ends and the mark that editors leave."""
    file = tmp_path / "token"
    file.write_text(written, encoding="utf-8")
    assert facts(load({"MEIGEN_API_TOKEN_FILE": str(file)})) == DEFAULTS | {"token": TOKEN}


def test_a_token_wins_over_a_file() -> None:
    """Which is then not read."""
    found = load({"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_API_TOKEN_FILE": "/nowhere"})
    assert facts(found) == DEFAULTS | {"token": TOKEN}


@pytest.mark.parametrize("written", [None, b"", b" \n", b"\xff\xfem\0e\0"])
def test_a_file_without_a_token_is_named(written: bytes | None, tmp_path: Path) -> None:
    """Absent, empty, or not text."""
    file = tmp_path / "token"
    if written is not None:
        file.write_bytes(written)
    problem = Problem(
        "MEIGEN_API_TOKEN_FILE",
        f'"{file}" is not allowed',
        "name a readable text file with the token",
    )
    assert facts(load({"MEIGEN_API_TOKEN_FILE": str(file)})) == DEFAULTS | {"problems": (problem,)}


def test_a_file_with_more_than_a_token_is_refused_and_not_shown(tmp_path: Path) -> None:
    """Two lines are no token."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n{TOKEN}\n", encoding="utf-8")
    problem = Problem(
        "MEIGEN_API_TOKEN_FILE", "it has characters that no token has", "paste the token again"
    )
    assert facts(load({"MEIGEN_API_TOKEN_FILE": str(file)})) == DEFAULTS | {"problems": (problem,)}


def test_a_token_in_the_wrong_variable_is_not_shown() -> None:
    """People paste it anywhere, also into a URL."""
    for setting in SETTINGS:
        found = load({setting.name: TOKEN})
        assert TOKEN not in "".join(map(str, found.problems))
    for url in (f"https://{TOKEN}@www.meigen.ai", f"https://me:{TOKEN}@www.meigen.ai:x"):
        shown = f"https://***@www.meigen.ai{':x' if url.endswith('x') else ''}"
        problem = Problem("MEIGEN_BASE_URL", f'"{shown}" is not allowed', ORIGIN)
        assert load({"MEIGEN_BASE_URL": url}).problems == (problem,)


@pytest.mark.parametrize("user", ["me:pa55", ":pa55", "pa55", "pa55:", "me:pa/55"])
def test_a_password_in_an_origin_is_refused_and_not_shown(user: str) -> None:
    """An origin has none."""
    problem = Problem("MEIGEN_BASE_URL", '"https://***@www.meigen.ai" is not allowed', ORIGIN)
    found = load({"MEIGEN_BASE_URL": f"https://{user}@www.meigen.ai"})
    assert facts(found) == DEFAULTS | {"problems": (problem,)}


def test_settings_do_not_show_their_tokens() -> None:
    """In no rendering that a log could hold."""
    found = load({"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_HTTP_TOKEN": TOKEN})
    assert (found.token, found.http_token) == (TOKEN, TOKEN)
    assert TOKEN not in f"{found!r} {found} {[found]}"


@pytest.mark.parametrize("value", ["mysql://me:pa/55@db", "me:pa/55@db", f"{DATABASE} x"])
def test_a_database_that_is_none_is_refused_without_its_password(value: str) -> None:
    """What it is must not be seen in an answer, whatever else is wrong with it."""
    for name in ("MEIGEN_DATABASE_URL", "MEIGEN_DATABASE_DIRECT_URL"):
        problem = Problem(
            name,
            "it is no address of a PostgreSQL database",
            "set postgresql://USER:PASSWORD@HOST/NAME, without a space",
        )
        assert facts(load({name: value})) == DEFAULTS | {"problems": (problem,)}
    assert shown({"MEIGEN_DATABASE_URL": value}) == {
        "MEIGEN_DATABASE_URL": f"set, {len(value)} characters"
    }


def test_request_keys_come_from_a_file(tmp_path: Path) -> None:
    """One a line, the first of which seals."""
    file = tmp_path / "keys"
    file.write_text(f"\ufeff{'n' * 32}\r\n\n{'o' * 40}\n", encoding="utf-8")
    found = load({"MEIGEN_REQUEST_KEYS_FILE": str(file)})
    assert facts(found) == DEFAULTS | {"request_keys": ("n" * 32, "o" * 40)}


@pytest.mark.parametrize("written", [None, b"", b" \n", b"\xff\xfem\0e\0", b"k" * 31, b"k " * 99])
def test_a_file_without_good_request_keys_is_named(written: bytes | None, tmp_path: Path) -> None:
    """Absent, empty, not text, or too short in any line."""
    file = tmp_path / "keys"
    if written is not None:
        file.write_bytes(written)
    problem = Problem(
        "MEIGEN_REQUEST_KEYS_FILE",
        f'"{file}" is not allowed',
        "name a readable text file with keys of at least 32 bytes, one a line",
    )
    found = load({"MEIGEN_REQUEST_KEYS_FILE": str(file)})
    assert facts(found) == DEFAULTS | {"problems": (problem,)}


def test_what_is_set_can_be_shown() -> None:
    """A secret by its length only, wherever it stands."""
    environment = {
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_HTTP_TOKEN": "letmein",
        "MEIGEN_API_TOKEN_FILE": TOKEN,
        "MEIGEN_BASE_URL": "https://me:pa55@www.meigen.ai",
        "MEIGEN_MODELS": " veo-3.1 ",
        "MEIGEN_DATA_DIR": "${user_config.folder}",
        "MEIGEN_OUTPUT_DIR": "${workspaceFolder}",
        "MEIGEN_SOMETHING": "else",
    }
    assert shown(environment) == {
        "MEIGEN_API_TOKEN": "set, 42 characters",
        "MEIGEN_HTTP_TOKEN": "set, 7 characters",
        "MEIGEN_API_TOKEN_FILE": "***",
        "MEIGEN_BASE_URL": "https://***@www.meigen.ai",
        "MEIGEN_MODELS": "veo-3.1",
        "MEIGEN_OUTPUT_DIR": "${workspaceFolder}",
    }


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_systems_own_proxies_count_where_no_variable_names_one(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS and Windows people set them in a window."""
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://p:1", "no": "x"})
    own = {name: value for name, value in network_variables().items() if "proxy" in name.lower()}
    system = {"https_proxy": "http://p:1", "no_proxy": "x"}
    assert own == ({} if platform == "linux" else system)
    monkeypatch.setenv("HTTPS_PROXY", "http://q:2")
    own = {name: value for name, value in network_variables().items() if "proxy" in name.lower()}
    assert own == {"HTTPS_PROXY": "http://q:2"}


# --- origins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]", True),
        ("http://LOCALHOST", True),
        ("http://127.0.0.1.example", False),
        ("http://localhost.example", False),
        ("http://0.0.0.0", False),
        ("https://www.meigen.ai", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_the_literal_host(url: str, loopback: bool) -> None:
    """Nothing is resolved."""
    assert is_loopback(url) is loopback


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://localhost:8000"])
def test_an_own_origin_is_a_loopback_one(url: str) -> None:
    """The real API's is not one."""
    assert load({"MEIGEN_BASE_URL": url}).own_origin == url
    assert load({}).own_origin is None


@UNHURRIED
@given(text=st.text(max_size=30), scheme=st.sampled_from(["", "https://", "http://127.0.0.1"]))
def test_any_origin_that_is_taken_can_be_connected_to(text: str, scheme: str) -> None:
    """An origin, or the default and a problem; never an exception."""
    found = load({"MEIGEN_BASE_URL": scheme + text})
    url = httpx.URL(f"{found.base_url}/api")
    assert (url.scheme, url.path, url.userinfo) == (found.base_url.partition(":")[0], "/api", b"")
    assert found.base_url == DEFAULTS["base_url"] or not found.problems


@UNHURRIED
@given(value=st.text(max_size=20), name=st.sampled_from([setting.name for setting in SETTINGS]))
def test_any_text_is_a_value_or_a_problem(value: str, name: str) -> None:
    """Never an exception, and no other variable is blamed."""
    assert {problem.field for problem in load({name: value}).problems} <= {name}
