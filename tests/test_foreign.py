"""What others wrote is shown without what it could do: to models, on terminals, in logs."""

import json
import logging
import re
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.client import Client
from support.foreign_words import ESC, ISOLATE, OSC, RTL, TAGS, UNSEEN, odd, texts
from support.in_memory import MODES, TOKEN, InMemory, Mode, make_settings

from meigen_mcp import app, foreign
from meigen_mcp.commands import jobs
from meigen_mcp.commands.cli import main
from meigen_mcp.commands.output import PrintableFormatter
from meigen_mcp.foreign import flat, is_id, one_line, printable, printable_url
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings
from meigen_mcp.wording import show

# --- the filter ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a fox, 狐 🦊 👩‍👩‍👧 é ﷺ", "a fox, 狐 🦊 👩‍👩‍👧 é ﷺ"),
        ("می‌خواهم", "می‌خواهم"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("DOS\r\nand\rold", "DOS\nand\nold"),
        (f"{ESC}{OSC}x", " [2J ]0;title x"),
        ("a\x9b31mb\x85c\x00d", "a 31mb c d"),
        (f"{RTL}gnp{ISOLATE}.exe\u2069", "gnp.exe"),
        (f"a{TAGS}b\ufeffc\u200bd", "abcd"),
        ("❤️ 👁️‍🗨️ ︎x", "❤️ 👁️‍🗨️ ︎x"),
        (f"a❤️{UNSEEN}b\ufe00\u200b\ufe01c", "a❤️b\ufe00c"),
        ("\U0001bca0a", "a"),
        ("a\u2028b\u2029c", "a b c"),
        ("half \ud83d", "half ?"),
    ],
)
def test_a_text_is_shown_without_what_it_could_do(given: str, shown: str) -> None:
    """Letters, emoji and lines stay; what moves, turns and hides does not."""
    assert printable(given) == shown


@given(st.text())
def test_nothing_that_is_shown_does_anything(text: str) -> None:
    """Whatever it is; and what is printable stays as it is."""
    shown = printable(text)
    seen = [letter for letter in shown if letter not in "\n\t"]
    assert not {"Cc", "Cs", "Zl", "Zp"} & {unicodedata.category(letter) for letter in seen}
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not turns & {unicodedata.bidirectional(letter) for letter in seen}
    assert printable(shown) == shown
    assert re.search("[\ufe00-\ufe0f]{2}|[\U000e0100-\U000e01ef]", shown) is None
    assert not {"\n", "\t"} & {*flat(text), *one_line(text)}


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("550e8400-e29b-41d4-a716-446655440000", True),
        ("gpt-image-2", True),
        ("16:9", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("..", False),
        ("-", False),
        ("a b", False),
        ("a/b", False),
        ("a\n", False),
        ("狐", False),
        ("٣", False),
    ],
)
def test_what_an_id_is(text: str, known: bool) -> None:
    """It can stand in a sentence, in a path and in a schema."""
    assert is_id(text) is known


def test_words_are_cut() -> None:
    """A name has no 500 characters."""
    assert one_line(f"  a \n b{RTL} ") == "a b"
    assert one_line("x" * 201) == "x" * 199 + "…"
    assert len(one_line("\u202e" * 10**6 + "x")) <= foreign.LONGEST_WORD


def test_a_url_opens_the_same() -> None:
    """What is odd in it is written as URLs write it."""
    assert printable_url("https://a.example/狐.png?a=b%20c") == "https://a.example/狐.png?a=b%20c"
    assert printable_url(f"https://a.example/{RTL}gnp") == "https://a.example/%E2%80%AEgnp"


def test_a_value_in_a_sentence_does_nothing() -> None:
    """Refusals repeat what was given."""
    assert show(f"a{RTL}\x9b") == '"a "'


# --- prompts, terminals and logs ----------------------------------------------------------------

PROMPT = f"a fox{ESC}{OSC}\x9b\r\nsecond {RTL}line{ISOLATE}{TAGS}\u2028end"


@pytest.mark.parametrize("mode", MODES)
async def test_a_prompt_is_sent_as_given_and_shown_without_escapes(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The record keeps it; no answer, title or list repeats what it could do."""
    async with (
        app.run_app(settings, transport := InMemory(emulator)) as running,
        Client(running.server, mode=mode) as client,
    ):
        made = await client.call_tool("generate_image", {"prompt": PROMPT})
        wrong = await client.call_tool("generate_image", {"prompt": PROMPT, f"x{ESC}": 1})
        newest = await client.call_tool("check_status", {})
        resources = await client.list_resources()
    async with app.open_account(settings) as account:
        kept = await account.ledger.records.get((made.structured_content or {})["requestId"])
    sent = [json.loads(r.content) for r in transport.requests if r.method == "POST"]
    shown = [b.text for one in (made, wrong, newest) for b in one.content if b.type == "text"]
    shown += [text for one in (made, wrong, newest) for text in texts(one.structured_content)]
    shown += [one.title or "" for one in resources.resources]
    assert [body["prompt"] for body in sent] == [PROMPT]
    assert kept is not None
    assert kept.prompt == PROMPT
    assert [text for text in shown if odd(text)] == []
    assert (made.structured_content or {})["prompt"] == printable(PROMPT)


async def test_a_terminal_is_not_moved(settings: Settings, emulator: Emulator) -> None:
    """By `meigen-mcp jobs`, the list and the one."""
    async with (
        app.run_app(settings, InMemory(emulator)) as running,
        Client(running.server) as client,
    ):
        made = await client.call_tool("generate_image", {"prompt": PROMPT})
        name = (made.structured_content or {})["requestId"]
    printed = [await jobs.run(settings), await jobs.run(settings, name)]
    assert [text for text in printed if odd(text)] == []
    assert {line[:2] for line in printed[0].splitlines()} == {"20", "  ", "sp"}


def test_what_a_command_refuses_moves_no_terminal(tmp_path: Path) -> None:
    """Its error repeats what was typed, or what a file said."""
    environ = {"MEIGEN_DATA_DIR": str(tmp_path), "MEIGEN_API_TOKEN": TOKEN}
    ended = CliRunner().invoke(main, ["jobs", f"x{ESC}{RTL}"], env=environ)
    assert (ended.exit_code, odd(ended.output)) == (1, [])
    assert "x [2J" in ended.output


@pytest.mark.parametrize(
    "command", ["jobs", "approve", "models", "serve --http --allowed-host", "serve --http --host"]
)
def test_what_is_typed_makes_no_line(command: str, tmp_path: Path) -> None:
    """Whoever pastes an id or a name may have it from somebody else."""
    environ = {"MEIGEN_DATA_DIR": str(tmp_path), "MEIGEN_HTTP_TOKEN": "x" * 32}
    ended = CliRunner().invoke(main, [*command.split(), f"x{RTL}\nok  all"], env=environ)
    assert (ended.exit_code, odd(ended.output)) == (1, [])
    assert len(ended.output.splitlines()) == 1
    assert ended.output.startswith("Error: ")


def test_a_line_of_the_log_moves_no_terminal() -> None:
    """Nor does the text of an exception."""
    where = (ValueError, ValueError(f"planted{OSC}"), None)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, f"a{ESC}%s", (RTL,), where)
    line = PrintableFormatter("%(levelname)s %(message)s").format(record)
    assert odd(line) == []
    assert line.startswith("ERROR a [2J\nValueError: planted")


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_prompt_has_an_end(mode: Mode, settings: Settings, emulator: Emulator) -> None:
    """32,000 characters; more are refused in few words, and nothing is kept of them."""
    longest = "x" * 32_000
    async with (
        app.run_app(settings, InMemory(emulator)) as running,
        Client(running.server, mode=mode) as client,
    ):
        taken = await client.call_tool("generate_image", {"prompt": longest, "dryRun": True})
        refused = await client.call_tool("generate_image", {"prompt": longest + "x"})
    answer = dict(refused.structured_content or {})
    assert (taken.structured_content or {})["status"] == "dry_run"
    assert (answer["status"], answer["error"]["code"]) == ("refused", "invalid_arguments")
    assert answer["error"]["message"].endswith(
        "- prompt: 32,001 characters are too many, at most 32,000 are taken; shorten it"
    )
    assert len(refused.model_dump_json()) < 40_000


async def test_offers_are_few(tmp_path: Path, emulator: Emulator) -> None:
    """A model that offers without end fills no disk, and no yes is lost for it."""
    configured = make_settings(tmp_path, MEIGEN_CONFIRM_ABOVE="1")
    async with (
        app.run_app(configured, InMemory(emulator)) as running,
        Client(running.server) as client,
    ):

        async def offer(number: int) -> str:
            call = {"prompt": str(number)}
            made = await client.call_tool("generate_image", call)
            return str((made.structured_content or {})["requestId"])

        names = [await offer(0)]
        async with app.open_account(configured) as account:
            assert await account.ledger.offers.approve(names[0], running.service.clock())
            names += [await offer(number) for number in range(1, 105)]
            kept = [
                await account.ledger.offers.approve(name, running.service.clock()) is not None
                for name in names
            ]
    assert kept == [True, *[False] * 5, *[True] * 99]
