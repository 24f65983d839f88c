"""The habits of this project: `nox` before each commit, `nox -l` lists the others.

They run in the environment that nox is installed in (`pip install -e ".[dev]"`), save the two that
make one of their own. What follows `--` goes on to pytest.
"""

import sys

import nox
from packaging.requirements import Requirement
from packaging.version import Version

nox.options.default_venv_backend = "none"
nox.options.sessions = ["quick"]

PATIENT = (
    "test_benchmarks.py",
    "test_chaos.py",
    "test_environments.py",
    "test_examples.py",
    "test_foreign_words.py",
    "test_installers.py",
    "test_regressions.py",
    "test_secrets.py",
    "test_telemetry.py",
    "api/test_reply_fuzz.py",
    "catalogue/test_live_list.py",
    "commands/test_approve.py",
    "commands/test_cli.py",
    "commands/test_demo.py",
    "commands/test_forget.py",
    "commands/test_generating.py",
    "commands/test_install_attacks.py",
    "commands/test_jobs.py",
    "commands/test_orders.py",
    "commands/test_output.py",
    "ledger/postgres/",
    "ledger/test_rescue.py",
    "media/test_clips.py",
    "media/test_frames.py",
    "media/test_kinds.py",
    "media/test_local_clips.py",
    "media/test_local_files.py",
    "media/test_marks.py",
    "media/test_names.py",
    "media/test_previews.py",
    "media/test_saving_attacks.py",
    "media/test_store.py",
    "poller/test_faults.py",
    "poller/test_fortnight.py",
    "poller/test_retention.py",
    "poller/test_unanswered.py",
    "sandbox/test_emulator.py",
    "sandbox/test_named.py",
    "sandbox/test_says_so.py",
    "server/test_after_money.py",
    "server/test_consent.py",
    "server/test_elicitation.py",
    "server/test_first_list.py",
    "server/test_fuzz.py",
    "server/test_resources.py",
    "server/test_server.py",
    "server/test_subscriptions.py",
    "server/test_tasks.py",
    "server/test_viewer_in_chat.py",
    "service/test_chain.py",
    "service/test_drafts.py",
    "service/test_pictures.py",
    "service/test_references.py",
    "service/test_todays_inputs.py",
    "transports/",
)
"""The tests that start processes, wait, or try very many inputs: most of the time.

`quick` prints what is slow and not here."""
SURFACE = (
    "tests/server/test_tool_schemas.py",
    "tests/server/test_resources.py",
    "tests/server/test_prompts.py",
    "tests/sandbox/test_wire.py",
)


@nox.session
def quick(session: nox.Session) -> None:
    """Lint, types and the tests that take no time: what is run before each commit, in 45 s."""
    check(session)
    quick_tests(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, its formatter and mypy."""
    check(session)


@nox.session
def test(session: nox.Session) -> None:
    """All tests that need nothing but Python: five minutes on two cores."""
    run(session, "pytest", "-q", "-n", "2", "--dist", "worksteal", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """All that continuous integration checks."""
    session.run("bash", ".ci/run", external=True)


@nox.session
def snap(session: nox.Session) -> None:
    """Write the tools, templates, prompts and the sandbox's answers anew: read what changed."""
    anew = {"MEIGEN_SNAPSHOT": "1", "MEIGEN_RERECORD": "1"}
    run(session, "pytest", "-q", *SURFACE, env=anew)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated tables anew, and check what the pages name."""
    run(session, "tests.tools.readme")
    run(session, "pytest", "-q", "tests/test_readme.py", "tests/test_docs.py")


@nox.session(name="quick-lowest", venv_backend="uv", reuse_venv=True)
def quick_lowest(session: nox.Session) -> None:
    """The quick tests with the lowest versions that pyproject.toml allows, each of them reached."""
    session.install("-U", "--resolution", "lowest-direct", "-e", ".[dev]")
    installed = dict(
        line.split("==")
        for line in (session.run("uv", "pip", "freeze", silent=True) or "").splitlines()
        if "==" in line
    )
    for text in nox.project.load_toml()["project"]["dependencies"]:
        bound = Requirement(text)
        lowest = next(part.version for part in bound.specifier if part.operator == ">=")
        if Version(installed[bound.name]) != Version(lowest):
            session.error(f"{bound} is never reached: at least {installed[bound.name]} is needed")
    quick_tests(session)


@nox.session(name="quick-newest", venv_backend="uv", reuse_venv=True)
def quick_newest(session: nox.Session) -> None:
    """Lint, types and the quick tests with the newest versions there are, whatever is locked."""
    session.install("-U", "-e", ".[dev]")
    check(session)
    quick_tests(session)


def check(session: nox.Session) -> None:
    """Lint and check types."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "mypy")


def quick_tests(session: nox.Session) -> None:
    """Run the tests that take no time; without the engine that has to be started first."""
    left_out = [f"--ignore=tests/{path}" for path in PATIENT]
    run(
        session,
        "pytest",
        "-q",
        "-n",
        "2",
        "--hypothesis-profile=quick",
        "--durations=5",
        "-k",
        "not postgres",
        *left_out,
        *session.posargs,
    )


def run(session: nox.Session, module: str, *words: str, env: dict[str, str] | None = None) -> None:
    """Run a module with the Python of the session's environment."""
    own = session.virtualenv.venv_backend != "none"
    python = "python" if own else sys.executable
    session.run(python, "-m", module, *words, env=env, external=not own)
