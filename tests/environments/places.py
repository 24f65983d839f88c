"""The places: what is set, or preloaded, so that a command believes to run there."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PUBLIC = "https://meigen-sandbox.example"
"""Where the sandbox is reached by way of a proxy, with a company's certificate."""


@dataclass(frozen=True)
class Site:
    """A home for one run.

    Attributes:
        folder: of this run alone.
        origin: of the sandbox.
        proxy: of a proxy that lets through to the sandbox.
        certificate: of the company that vouches for it there.
    """

    folder: Path
    origin: str
    proxy: str
    certificate: Path

    @property
    def home(self) -> Path:
        """The person's home."""
        return self.folder / "home"

    @property
    def project(self) -> Path:
        """The folder in which commands run."""
        return self.folder / "project"


Variables = Mapping[str, str | None]


@dataclass(frozen=True)
class Place:
    """Somewhere to run.

    Attributes:
        how: how it is brought about, for the table.
        variables: what is set besides, or not set at all (None).
        works: the commands that do all they do elsewhere; the others say why not.
        needs: what this machine must have for it.
    """

    name: str
    how: str
    variables: Callable[[Site], Variables]
    works: frozenset[str]
    needs: Callable[[], str | None] = lambda: None


@cache
def shim() -> str | None:
    """Return the path of the library to preload, compiled once; None where that cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    import tempfile  # noqa: PLC0415  # for this alone

    made = Path(tempfile.mkdtemp(prefix="meigen-shim-")) / "shim.so"
    source = str(HERE / "shim.c")
    command = [compiler, "-shared", "-fPIC", "-O1", source, "-o", str(made), "-ldl"]
    subprocess.run(command, check=True)
    return str(made)


def _preload() -> str | None:
    return None if shim() else "Linux with a C compiler"


@cache
def latin() -> str | None:
    """Return a folder with a locale in ISO-8859-1, made once; None where that cannot be."""
    program = shutil.which("localedef")
    if program is None:
        return None
    import tempfile  # noqa: PLC0415  # for this alone

    folder = tempfile.mkdtemp(prefix="meigen-locale-")
    command = [program, "-i", "C", "-f", "ISO-8859-1", f"{folder}/c.iso88591"]
    made = subprocess.run(command, capture_output=True, check=False)
    return folder if (Path(folder) / "c.iso88591").is_dir() or not made.returncode else None


def _latin() -> str | None:
    return None if latin() else "localedef with its character maps"


def _preloaded(**variables: str | None) -> Variables:
    return {"LD_PRELOAD": shim(), **variables}


_NO_FOLDERS = {"HOME": None, "MEIGEN_DATA_DIR": None, "MEIGEN_OUTPUT_DIR": None}
_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _by_proxy(site: Site, **more: str | None) -> Variables:
    certificate = {"SSL_CERT_FILE": str(site.certificate), "HTTPS_PROXY": site.proxy}
    api = {"MEIGEN_BASE_URL": PUBLIC, "MEIGEN_UPLOAD_URL": PUBLIC}
    return {**api, **certificate, **more}


ALL = frozenset(("serve", "doctor", "install", "jobs", "saved result"))
PLACES = (
    Place(
        "no HOME",
        "the password file names a home",
        lambda site: _preloaded(ENV_HOME=str(site.home), **_NO_FOLDERS),
        ALL,
        _preload,
    ),
    Place(
        "unknown uid",
        "no HOME, and the user is in no password file",
        lambda _: _preloaded(ENV_HOME="", **_NO_FOLDERS),
        frozenset(("serve",)),
        _preload,
    ),
    Place(
        "read-only root",
        "nothing below the home can be written",
        lambda site: _preloaded(ENV_READONLY=str(site.folder)),
        frozenset(("serve",)),
        _preload,
    ),
    Place(
        "no temporary folder",
        "none of those that Python tries can be written",
        lambda site: _preloaded(
            ENV_READONLY=f"/tmp/*:/var/tmp/*:/usr/tmp/*:{site.project}/*"  # noqa: S108  # not used
        ),
        ALL,
        _preload,
    ),
    Place("C locale", "without the UTF-8 mode that Python puts over it", lambda _: _ASCII, ALL),
    Place(
        "ISO-8859-1 locale",
        "the same, with 191 letters more",
        lambda _: {**_ASCII, "LC_ALL": "c.iso88591", "LOCPATH": latin()},
        ALL,
        _latin,
    ),
    Place("cp1252 pipe", "PYTHONIOENCODING=cp1252", lambda _: {"PYTHONIOENCODING": "cp1252"}, ALL),
    Place(
        "NO_PROXY with IPv6",
        "`NO_PROXY=localhost,fd00::/8,[::1]`; the API is behind a proxy",
        lambda site: _by_proxy(site, NO_PROXY="localhost,fd00::/8,[::1]"),
        ALL,
    ),
    Place(
        "SOCKS",
        "`ALL_PROXY=socks5://127.0.0.1:9` beside a good `HTTPS_PROXY`",
        lambda site: _by_proxy(site, ALL_PROXY="socks5://127.0.0.1:9", all_proxy="socks://x:1"),
        ALL,
    ),
    Place(
        "a company's certificate",
        "the API is behind a proxy that looks into connections, and nobody knows its certificate",
        lambda site: _by_proxy(site, SSL_CERT_FILE=None),
        frozenset(("serve", "install", "jobs")),
    ),
    Place(
        "no locks",
        "the file system knows none (ENOLCK)",
        lambda _: _preloaded(ENV_NO_LOCKS="1"),
        frozenset(("serve",)),
        _preload,
    ),
    Place(
        "no shared memory",
        "no file can be mapped into memory that others see (ENODEV)",
        lambda _: _preloaded(ENV_NO_SHARED="1"),
        frozenset(("serve", "install")),
        _preload,
    ),
    Place(
        "a relative folder",
        "`MEIGEN_DATA_DIR=./data`",
        lambda _: {"MEIGEN_DATA_DIR": "./data"},
        frozenset(("serve",)),
    ),
    Place(
        "a placeholder",
        "`MEIGEN_MAX_CREDITS_PER_DAY=${MY_CAP}`",
        lambda _: {"MEIGEN_MAX_CREDITS_PER_DAY": "${MY_CAP}"},
        frozenset(("serve", "install", "jobs")),
    ),
)
